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
import { bindSocket, removeSocket } from "./socket_file.ts";

/** The answer to one request. */
export type FetchAnswer =
  | { readonly kind: "ok"; readonly size: number }
  | { readonly kind: "notFound" }
  | { readonly kind: "error"; readonly why: string };

/** Longest request line, bytes. */
const MAX_REQUEST_BYTES = 8192;

/** What clients may take up. */
export interface Limits {
  /** Connections at once; more wait in the listen queue. */
  readonly connections: number;
  /** A client that for so long neither asks nor takes its answer is left, ms. */
  readonly idleMs: number;
  /** The same while all connections are taken, ms. */
  readonly crowdedIdleMs: number;
  /** Time between two looks for such clients, ms. */
  readonly sweepMs: number;
}

const LIMITS: Limits = {
  connections: 4096,
  idleMs: 60_000,
  crowdedIdleMs: 1_000,
  sweepMs: 1_000,
};

/** How long answers in the making are waited for at the end, ms. */
const CLOSE_TIMEOUT_MS = 5_000;

/** Buffers full that are read from a client after it was refused. */
const MAX_DISCARDED_READS = 16;

const NEWLINE = 0x0a;
const FETCH = "FETCH ";

interface Client {
  readonly conn: Deno.Conn;
  /** "answer": one is being made, and the client is not idle however long that takes. */
  waitsFor: "request" | "answer" | "taking";
  sinceMs: number;
}

/** See the module's description. */
export class ShimServer {
  readonly #listener: Deno.Listener;
  readonly #path: string;
  readonly #handler: (path: string) => Promise<FetchAnswer>;
  readonly #limits: Limits;
  readonly #clients = new Set<Client>();
  readonly #sweeper: number;
  readonly #accepting: Promise<void>;
  #roomFreed: (() => void) | null = null;
  #closing = false;

  private constructor(
    listener: Deno.Listener,
    path: string,
    handler: (path: string) => Promise<FetchAnswer>,
    limits: Limits,
  ) {
    this.#listener = listener;
    this.#path = path;
    this.#handler = handler;
    this.#limits = limits;
    this.#sweeper = setInterval(() => this.#endIdle(), limits.sweepMs);
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
    limits: Limits = LIMITS,
  ): Promise<ShimServer> {
    await removeStale(path);
    const listener = bindSocket(path, mode, () => Deno.listen({ transport: "unix", path }));
    return new ShimServer(listener as Deno.Listener, path, handler, limits);
  }

  /**
   * Stops listening, removes the socket, and ends connections. Answers in the making are given if
   * they come in time; whoever got none sees the end of the connection and asks the next daemon (P4).
   */
  async close(timeoutMs = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing = true;
    clearInterval(this.#sweeper);
    this.#listener.close();
    await Deno.remove(this.#path).catch(() => {}); // gone already, when its directory was removed
    this.#roomFreed?.();
    await this.#accepting;
    for (const client of this.#clients) if (client.waitsFor === "request") end(client);
    const deadlineMs = Date.now() + timeoutMs;
    while (this.#clients.size > 0 && Date.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (const client of this.#clients) end(client);
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
      const client: Client = { conn, waitsFor: "request", sinceMs: Date.now() };
      this.#clients.add(client);
      void this.#serve(client).catch(() => {}).finally(() => {
        end(client);
        this.#clients.delete(client);
        this.#roomFreed?.();
      });
      if (this.#clients.size >= this.#limits.connections) {
        this.#endIdle();
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
        if (this.#closing) return;
      }
      buffer.copyWithin(0, begin, filled);
      filled -= begin;
      if (filled > MAX_REQUEST_BYTES) return await refuse(client, "ERROR request too long", buffer);
    }
  }

  async #answer(client: Client, request: Uint8Array): Promise<void> {
    client.waitsFor = "answer";
    const line = answerLine(await this.#handle(pathFromBytes(request)));
    client.waitsFor = "taking";
    client.sinceMs = Date.now();
    await write(client.conn, line);
    client.waitsFor = "request";
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

  #endIdle(): void {
    const { connections, idleMs, crowdedIdleMs } = this.#limits;
    const sinceMs = Date.now() - (this.#clients.size >= connections ? crowdedIdleMs : idleMs);
    for (const client of this.#clients) {
      if (client.waitsFor !== "answer" && client.sinceMs < sinceMs) end(client);
    }
  }
}

/**
 * Ends a connection. A write that waits for the client keeps the descriptor until the client goes:
 * Deno cannot take a write back.
 */
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
    // connect(2): also what a regular file gives.
    if (error instanceof Deno.errors.ConnectionRefused) return removeSocket(path);
    throw new EnvironmentError(`Cannot take over ${path}: ${(error as Error).message}`);
  }
  throw new EnvironmentError(`Cannot listen on ${path}: another process serves it; stop it first`);
}
