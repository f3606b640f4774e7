// Calls the commands of app.py with the types that openapi-typescript made of the service's openapi.json. Exits with 1 if anything is
// not as it should be.

import createClient from "openapi-fetch";
import { failure, items, patient, result } from "./calls.js";
import type { components, paths } from "./openapi.js";

const url = process.argv[2] ?? "http://localhost:8080";

const shop = createClient<paths>({ baseUrl: url });

async function greet() {
  const reply = await shop.POST("/commands/greet", { body: { name: "Ada" } });
  const greeting = result(reply);
  see("greet", greeting, "hello Ada");
}

async function placeOrder() {
  const reply = await shop.POST("/commands/place_order", {
    body: {
      order: {
        lines: [{ title: "Emma", copies: 2 }, { title: "Walden" }],
        placed: new Date(Date.UTC(2026, 0, 31, 12)).toISOString(),
        shipping: "express",
      },
    },
  });
  const parcels = result(reply).map(({ copies, title, shipping, arrives }) => `${copies} of ${title} by ${shipping} for ${arrives}`);
  see("parcels", parcels.join(", "), "2 of Emma by express for 2026-02-01T12:00:00Z, 1 of Walden by express for 2026-02-01T12:00:00Z");
}

/** Sends what does not fit. The service says where, and Python has not seen it. */
async function refuseArguments() {
  const lines = [{ title: "Emma", copies: 0 }];
  const reply = await shop.POST("/commands/place_order", { body: { order: { lines, placed: new Date().toISOString() } } });
  const { status, code, errors } = failure(reply);
  const first = errors?.[0];
  see("refused", `${status} ${code}, ${first?.pointer} ${first?.detail}`, "400 invalid_args, /order/lines/0/copies must be at least 1");
}

/** Has the command raise a CommandError. */
async function raise() {
  const lines = [{ title: "Ulysses" }];
  const reply = await shop.POST("/commands/place_order", { body: { order: { lines, placed: new Date().toISOString() } } });
  const { status, code, detail } = failure(reply);
  see("raised", `${status} ${code}, ${detail}`, "422 sold_out, there are 0 of Ulysses");
}

/** Makes calls in a session: a Python process of its own, which remembers. */
async function keepBasket() {
  const session_id = "typescript";
  const add = async (title: string) =>
    result(await shop.POST("/commands/add_to_basket", { params: { query: { session_id } }, body: { title } })).join(", ");
  const end = async () => result(await shop.DELETE("/sessions/{session_id}", { params: { path: { session_id } } }));
  see("basket", await add("Emma"), "Emma");
  see("basket", await add("Walden"), "Emma, Walden");
  await end();
  see("new basket", await add("Ulysses"), "Ulysses");
  await end();
}

/** Reads a stream item by item. */
async function follow() {
  const reply = await shop.POST("/commands/track", {
    body: { number: 1 },
    headers: { Accept: "application/x-ndjson" },
    parseAs: "stream",
  });
  const wanted = ["warehouse after 0 h", "station after 1 h", "door after 2 h"];
  for await (const stop of items<components["schemas"]["Stop"]>(result(reply)!)) {
    see("stop", `${stop.place} after ${stop.hours} h`, wanted.shift());
  }
  if (wanted.length > 0) throw new Error(`the stream ended before ${wanted}`);
}

/** Bounds a call. It had begun, so that repeating it is the caller's decision. */
async function runOutOfTime() {
  const reply = await shop.POST("/commands/take_stock", { params: { query: { timeout_ms: 100 } }, body: { seconds: 60 } });
  const { status, code, started } = failure(reply);
  see("too slow", `${status} ${code}, started: ${started}`, "504 execution_timeout, started: true");
}

/** Calls while the service has no worker free, because a lease has its only one until the first refusal. */
async function waitForAWorker() {
  const { lease_id } = result(await shop.POST("/checkout", { body: { type: "anonymous" } }));
  let refusals = 0;
  const refused = async () => {
    if (++refusals === 1) result(await shop.DELETE("/checkout/{lease_id}", { params: { path: { lease_id } } }));
  };
  const waiting = createClient<paths>({ baseUrl: url, fetch: patient(5, refused) });
  const query = { checkout_timeout_ms: 100 }; // else the service looks for a worker for some seconds
  const greeting = result(await waiting.POST("/commands/greet", { params: { query }, body: { name: "Bob" } }));
  see("busy", `refused: ${refusals > 0}, then ${greeting}`, "refused: true, then hello Bob");
}

/** Prints what came of a step, which must be what is wanted. */
function see(what: string, got: string, want: string | undefined) {
  if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  console.log(`${what}: ${got}`);
}

for (const step of [greet, placeOrder, refuseArguments, raise, keepBasket, follow, runOutOfTime, waitForAWorker]) {
  await step();
}
