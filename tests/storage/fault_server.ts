/**
 * Servers that do to a backend what a test tells them to, whatever the protocol.
 *
 * @module
 */

import type { Backend } from "../../src/storage/backend.ts";
import type { Limits } from "../../src/storage/http_exchange.ts";

/** For servers that answer, be the machine as busy as it may. */
export const PATIENT: Limits = { idleMs: 30_000, slowestBytesPerSecond: 1024 };

/** For those that never do. */
export const IMPATIENT: Limits = { idleMs: 300, slowestBytesPerSecond: 1024 * 1024 };

/** Runs a test of the backend that `open` gives, against a server that answers with `answer`. */
export async function withFaultServer<B extends Backend>(
  answer: (request: Request, body: Uint8Array) => Response | Promise<Response>,
  open: (origin: string) => Promise<B>,
  test: (backend: B, origin: string) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    async (request) => await answer(request, await request.bytes()),
  );
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const backend = await open(origin);
  try {
    await test(backend, origin);
  } finally {
    await backend.close();
    stop.abort();
    await server.finished;
  }
}

/** The same, against a server that sends these raw bytes to whoever asks. */
export async function withRawServer<B extends Backend>(
  raw: string,
  open: (origin: string) => Promise<B>,
  test: (backend: B) => Promise<void>,
): Promise<void> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const connection of listener) {
      await connection.read(new Uint8Array(65536));
      await connection.write(new TextEncoder().encode(raw));
      connection.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  const backend = await open(`http://127.0.0.1:${port}`);
  try {
    await test(backend);
  } finally {
    await backend.close();
    listener.close();
    await serving;
  }
}
