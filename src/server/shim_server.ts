/**
 * The socket that the shim asks: `FETCH <path>\n` → `OK <size>\n`, `NOTFOUND\n` or `ERROR <why>\n`.
 *
 * A client may send one request and close, leave out the last newline after a half-close, or keep the
 * connection and send more; answers come in order. Nothing a client does delays another: each has its
 * own buffer, of bounded size, and is read only after its last answer was taken.
 *
 * @module
 */

import { pathFromBytes } from "../cache/depot_path.ts";
import { EnvironmentError } from "../errors.ts";

/** The answer to one request. */
export type FetchAnswer =
  | { readonly kind: "ok"; readonly size: number }
  | { readonly kind: "notFound" }
  | { readonly kind: "error"; readonly why: string };

/** Longest request line, bytes. */
const MAX_REQUEST_BYTES = 8192;

/** Connections at once; more wait in the listen queue. */
const MAX_CONNECTIONS = 4096;

/** A connection without a request for so long is closed, ms. */
const IDLE_MS = 60_000;
const SWEEP_MS = 5_000;

/** Buffers full that are read from a client after it was refused. */
const MAX_DISCARDED_READS = 16;

const NEWLINE = 0x0a;
const FETCH = "FETCH ";

interface Client {
  readonly conn: Deno.Conn;
  idleSinceMs: number;
  /** An answer is being made: not idle however long it takes. */
  busy: boolean;
}

/** See the module's description. */
export class ShimServer {
  readonly #listener: Deno.Listener;
  readonly #path: string;
  readonly #handler: (path: string) => Promise<FetchAnswer>;
  readonly #clients = new Set<Client>();
  readonly #sweeper: number;
  readonly #accepting: Promise<void>;
  #roomFreed: (() => void) | null = null;

  private constructor(
    listener: Deno.Listener,
    path: string,
    handler: (path: string) => Promise<FetchAnswer>,
  ) {
    this.#listener = listener;
    this.#path = path;
    this.#handler = handler;
    this.#sweeper = setInterval(() => this.#closeIdle(), SWEEP_MS);
    this.#accepting = this.#accept();
  }

  /**
   * Listens at a path, in place of a socket that a dead daemon left.
   * @param mode Permission bits of the socket.
   * @param handler Given the path of a request, one character per byte, as it came.
   * @throws EnvironmentError when the path is taken by a live server or cannot be made.
   */
  static async listen(
    path: string,
    mode: number,
    handler: (path: string) => Promise<FetchAnswer>,
  ): Promise<ShimServer> {
    await removeStale(path);
    const umask = Deno.umask(0o177);
    try {
      const listener = Deno.listen({ transport: "unix", path });
      Deno.chmodSync(path, mode);
      return new ShimServer(listener as Deno.Listener, path, handler);
    } catch (error) {
      throw new EnvironmentError(`Cannot listen on ${path}: ${(error as Error).message}`);
    } finally {
      Deno.umask(umask);
    }
  }

  /** Stops listening, ends connections, and removes the socket. Answers in the making are given. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#listener.close();
    await Deno.remove(this.#path).catch(() => {}); // gone already, when its directory was removed
    this.#roomFreed?.();
    await this.#accepting;
    for (const client of this.#clients) if (!client.busy) end(client);
    while (this.#clients.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async #accept(): Promise<void> {
    for (;;) {
      let conn: Deno.Conn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        // Out of descriptors: those in use are given back in time.
        await new Promise((resolve) => setTimeout(resolve, 50));
        continue;
      }
      const client = { conn, idleSinceMs: Date.now(), busy: false };
      this.#clients.add(client);
      void this.#serve(client).catch(() => {}).finally(() => {
        end(client);
        this.#clients.delete(client);
        this.#roomFreed?.();
      });
      if (this.#clients.size >= MAX_CONNECTIONS) {
        await new Promise<void>((resolve) => this.#roomFreed = resolve);
        this.#roomFreed = null;
      }
    }
  }

  async #serve(client: Client): Promise<void> {
    const { conn } = client;
    const buffer = new Uint8Array(MAX_REQUEST_BYTES + 1);
    let filled = 0;
    for (;;) {
      const n = await conn.read(buffer.subarray(filled));
      if (n === null) {
        if (filled > 0) await this.#answer(client, buffer.subarray(0, filled));
        return;
      }
      filled += n;
      let begin = 0;
      for (let at; (at = buffer.subarray(0, filled).indexOf(NEWLINE, begin)) >= 0; begin = at + 1) {
        await this.#answer(client, buffer.subarray(begin, at));
      }
      buffer.copyWithin(0, begin, filled);
      filled -= begin;
      if (filled > MAX_REQUEST_BYTES) return await refuse(client, "ERROR request too long", buffer);
    }
  }

  async #answer(client: Client, request: Uint8Array): Promise<void> {
    client.busy = true;
    await write(client.conn, answerLine(await this.#handle(pathFromBytes(request))));
    client.busy = false;
    client.idleSinceMs = Date.now();
  }

  async #handle(line: string): Promise<FetchAnswer> {
    if (!line.startsWith(FETCH)) {
      return { kind: "error", why: "unknown request; allowed: FETCH <depot-relative path>" };
    }
    try {
      return await this.#handler(line.slice(FETCH.length));
    } catch {
      return { kind: "error", why: "internal error" };
    }
  }

  #closeIdle(): void {
    const before = Date.now() - IDLE_MS;
    for (const client of this.#clients) {
      if (!client.busy && client.idleSinceMs < before) end(client);
    }
  }
}

function end({ conn }: Client): void {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}

function answerLine(answer: FetchAnswer): string {
  switch (answer.kind) {
    case "ok":
      return `OK ${answer.size}`;
    case "notFound":
      return "NOTFOUND";
    case "error":
      return `ERROR ${answer.why.replaceAll("\n", " ")}`;
  }
}

async function write(conn: Deno.Conn, line: string): Promise<void> {
  let rest: Uint8Array = new TextEncoder().encode(line + "\n");
  while (rest.length > 0) rest = rest.subarray(await conn.write(rest));
}

/**
 * Says why and ends the connection. What the client still sends is read first, up to a bound: closing
 * over unread bytes resets the connection, and the client would never see the answer.
 */
async function refuse({ conn }: Client, line: string, buffer: Uint8Array): Promise<void> {
  await write(conn, line);
  await (conn as Deno.UnixConn).closeWrite();
  for (let reads = 0; reads < MAX_DISCARDED_READS; reads++) {
    if (await conn.read(buffer) === null) return;
  }
}

/** Removes a socket that nobody listens on any more. */
async function removeStale(path: string): Promise<void> {
  try {
    const conn = await Deno.connect({ transport: "unix", path });
    conn.close();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (error instanceof Deno.errors.ConnectionRefused) return Deno.removeSync(path);
    throw new EnvironmentError(`Cannot take over ${path}: ${(error as Error).message}`);
  }
  throw new EnvironmentError(`Cannot listen on ${path}: another process serves it; stop it first`);
}
