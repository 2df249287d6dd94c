/**
 * The Google Cloud Storage backend against a server that does what a test tells it to.
 *
 * @module
 */

import type { GcsConfig } from "../../../src/config/config.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { openGcs } from "../../../src/storage/gcs/gcs_open.ts";
import { gcsConfig } from "../fake_gcs.ts";

export const LIMITS = { idleMs: 300, slowestBytesPerSecond: 1024 * 1024 };

/** One request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** Runs a test against a server that answers each request with `answer`. */
export async function withServer(
  answer: (request: Seen) => Response | Promise<Response>,
  test: (backend: Backend, origin: string) => Promise<void>,
  changes: Partial<GcsConfig> = {},
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    async (request) => {
      const { method, headers, url } = request;
      const body = new Uint8Array(await request.arrayBuffer());
      return await answer({ method, headers, url: new URL(url), body });
    },
  );
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const backend = await openGcs(gcsConfig(origin, changes), LIMITS);
  try {
    await test(backend, origin);
  } finally {
    await backend.close();
    stop.abort();
    await server.finished;
  }
}

/** Runs a test against a server that sends these raw bytes to whoever asks. */
export async function withRawServer(
  raw: string,
  test: (backend: Backend) => Promise<void>,
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
  const backend = await openGcs(gcsConfig(`http://127.0.0.1:${port}`), LIMITS);
  try {
    await test(backend);
  } finally {
    await backend.close();
    listener.close();
    await serving;
  }
}

/** A refusal as the JSON API writes it. */
export function refusal(
  status: number,
  reason: string,
  message = "m",
  headers: Record<string, string> = {},
): Response {
  const error = { code: status, message, errors: [{ reason, message, domain: "global" }] };
  return Response.json({ error }, { status, headers });
}

/** Headers of an object with generation 1. */
export function objectHeaders(more: Record<string, string> = {}): Record<string, string> {
  return { "x-goog-generation": "1", "x-goog-stored-content-encoding": "identity", ...more };
}
