import type { components } from "./openapi.js";

export type Problem = components["schemas"]["Problem"];

/** A problem document (RFC 9457) as an error. */
export class Failure extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail}`);
  }
}

/** Returns the result of a call, or throws what the service says instead. */
export function result<T>(reply: { data?: T; error?: Problem }): T {
  if (reply.error !== undefined) throw new Failure(reply.error);
  return reply.data as T;
}

/** Returns why a call failed. */
export function failure(reply: { data?: unknown; error?: Problem }): Problem {
  if (reply.error === undefined) throw new Error(`not refused, but answered ${JSON.stringify(reply.data)}`);
  return reply.error;
}

/**
 * A fetch that repeats a request the service had no worker for, after as long as that says. Nothing is run twice: what is answered
 * with 503 was not begun.
 *
 * @param attempts the most requests for one call
 * @param refused told the seconds before each wait
 */
export function patient(attempts: number, refused: (seconds: number) => void | Promise<void>) {
  return async (request: Request): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      const reply = await fetch(request.clone());
      const seconds = Number(reply.headers.get("Retry-After") ?? NaN);
      if (reply.status !== 503 || Number.isNaN(seconds) || attempt === attempts) return reply;
      await reply.body?.cancel();
      await refused(seconds);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  };
}

/** The items of a stream of application/x-ndjson, as they come. A stream that ends without saying so was cut. */
export async function* items<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter((line) => line !== "")) {
      const event: components["schemas"]["StreamEvent"] = JSON.parse(line);
      if (event.event === "chunk") yield event.data as T;
      if (event.event === "error" && event.problem) throw new Failure(event.problem);
      if (event.event === "end") return;
    }
  }
  throw new Error("the stream was cut");
}
