// The page works without this. It names the service as the browser knows it, where a proxy has another address, and copies lines.
"use strict";
const here = new URL(".", document.baseURI).href.replaceAll("'", "%27");
for (const base of document.querySelectorAll(".base")) base.textContent = here;
for (const button of document.querySelectorAll(".line button")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
