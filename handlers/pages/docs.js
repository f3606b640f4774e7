// Shows openapi.json, which lies beside this page. Calls go to the service that sent the page, by whatever name the browser knows it.
"use strict";

const here = new URL(".", document.baseURI).href;

const callHere = () => ({
  statePlugins: {
    spec: {
      wrapActions: {
        updateJsonSpec: (update) => (document) => update({ ...document, servers: [{ url: here.replace(/\/$/, "") }] }),
      },
    },
  },
});

SwaggerUIBundle({
  url: new URL("openapi.json", here).href,
  dom_id: "#operations",
  plugins: [callHere],
  validatorUrl: null, // it is another host's
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
});
