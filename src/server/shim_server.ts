/**
 * The socket that the shim asks, one line a request:
 *
 *     FETCH <path>   → OK <size>  the file is in place now
 *     REVALIDATE <path>  → OK <size>  it is in place and current; "ERROR stale…" when nobody can say
 *     UNLINK <path>  → OK 0       it was evicted, and is deleted now
 *                      LOCAL      it is in place: deleting it is the client's
 *     LIST <dir>     → "f <name>" or "d <name>" for each entry the storage has, then END; "." is the depot
 *     DROPPED <n>    → OK 0       so many accesses were not reported
 *
 * and NOTFOUND or `ERROR <why>` to any. FETCH is the contract's; a client must expect "ERROR unknown
 * request" to the others from an older daemon.
 *
 * A client may send one request and close, leave out the last newline after a half-close, or keep the
 * connection and send more; answers come in order. Nothing a client does delays another: each has its
 * own buffer, of bounded size (P5), and is read only after its last answer was taken. No answer is NOTFOUND
 * but where the engine says so: what fails is ERROR (P3).
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { pathFromBytes, pathToBytes } from "../depot_path.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { describeError } from "../observe/logging.ts";
import { bindSocket, removeSocket } from "./socket_file.ts";

/** The answer to one request. */
export type FetchAnswer =
  | { readonly kind: "ok"; readonly size: number }
  | { readonly kind: "notFound" }
  | { readonly kind: "error"; readonly why: string };

/** The answer to a request to delete an evicted file. */
export type UnlinkAnswer =
  | { readonly kind: "deleted" }
  | { readonly kind: "local" }
  | { readonly kind: "notFound" }
  | { readonly kind: "error"; readonly why: string };

/** One name in a directory, one character per byte. */
export interface ListedName {
  readonly name: string;
  readonly isDirectory: boolean;
}

/** Who answers. Paths and names are as they came, one character per byte. */
export interface ShimRequests {
  fetch(path: string): Promise<FetchAnswer>;
  /** The same of a file that is there, and may be an old copy. */
  revalidate(path: string): Promise<FetchAnswer>;
  unlink(path: string): Promise<UnlinkAnswer>;
  /** The entries of a directory; "" is the depot. Throws what stands in the way of a whole listing. */
  list(dir: string): AsyncIterable<ListedName>;
  /** A client could not report so many accesses. */
  dropped(count: number): void;
}

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

/** Characters of a listing that are sent in one piece. */
const LIST_PIECE = 16 * 1024;

const NEWLINE = 0x0a;

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
  readonly #requests: ShimRequests;
  readonly #limits: Limits;
  readonly #clients = new Set<Client>();
  /** Looks for clients to end while there are any. */
  #sweeper: number | null = null;
  readonly #accepting: Promise<void>;
  #roomFreed: (() => void) | null = null;
  #closing = false;

  private constructor(
    listener: Deno.Listener,
    path: string,
    requests: ShimRequests,
    limits: Limits,
  ) {
    this.#listener = listener;
    this.#path = path;
    this.#requests = requests;
    this.#limits = limits;
    this.#accepting = this.#accept();
  }

  /**
   * Listens at a path, in place of a socket that a dead daemon left.
   * @param mode Permission bits of the socket.
   * @throws EnvironmentError when the path is taken by a live server or cannot be made.
   */
  static async listen(
    path: string,
    mode: number,
    requests: ShimRequests,
    limits: Limits = LIMITS,
  ): Promise<ShimServer> {
    await removeStale(path);
    const listener = bindSocket(path, mode, () => Deno.listen({ transport: "unix", path }));
    return new ShimServer(listener as Deno.Listener, path, requests, limits);
  }

  /**
   * Stops listening, removes the socket, and ends connections. Answers in the making are given if
   * they come in time; whoever got none sees the end of the connection and asks the next daemon (P4).
   */
  async close(timeoutMs = CLOSE_TIMEOUT_MS): Promise<void> {
    this.#closing = true;
    this.#stopSweeping();
    this.#listener.close();
    await Deno.remove(this.#path).catch(() => {}); // gone already, when its directory was removed
    this.#roomFreed?.();
    await this.#accepting;
    for (const client of this.#clients) if (client.waitsFor === "request") end(client);
    const deadlineMs = Date.now() + timeoutMs;
    while (this.#clients.size > 0 && Date.now() < deadlineMs) {
      await delay(5);
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
        await delay(50);
        continue;
      }
      const client: Client = { conn, waitsFor: "request", sinceMs: Date.now() };
      this.#clients.add(client);
      this.#sweeper ??= setInterval(() => this.#endIdle(), this.#limits.sweepMs);
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
      if (filled > MAX_REQUEST_BYTES) {
        return await refuse(client, "ERROR request too long\n", buffer);
      }
    }
  }

  async #answer(client: Client, request: Uint8Array): Promise<void> {
    for await (const lines of this.#handle(client, pathFromBytes(request))) {
      client.waitsFor = "taking";
      client.sinceMs = Date.now();
      await write(client.conn, lines);
      client.waitsFor = "answer";
    }
    client.waitsFor = "request";
    client.sinceMs = Date.now();
  }

  /** The answer, in pieces of whole lines. */
  async *#handle(client: Client, line: string): AsyncIterable<string> {
    client.waitsFor = "answer";
    const space = line.indexOf(" ");
    const verb = line.slice(0, Math.max(0, space)), operand = line.slice(space + 1);
    try {
      switch (verb) {
        case "FETCH":
          return yield answerLine(await this.#requests.fetch(operand));
        case "REVALIDATE":
          return yield answerLine(await this.#requests.revalidate(operand));
        case "UNLINK":
          return yield answerLine(await this.#requests.unlink(operand));
        case "LIST":
          return yield* listing(this.#requests.list(operand === "." ? "" : operand));
        case "DROPPED":
          if (!/^\d{1,9}$/.test(operand)) return yield "ERROR not a number\n";
          this.#requests.dropped(Number(operand));
          return yield "OK 0\n";
        default:
          yield "ERROR unknown request; allowed: FETCH, UNLINK, LIST <depot-relative path>\n";
      }
    } catch {
      yield "ERROR internal error\n";
    }
  }

  #stopSweeping(): void {
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = null;
  }

  #endIdle(): void {
    if (this.#clients.size === 0) return this.#stopSweeping();
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

function answerLine(answer: FetchAnswer | UnlinkAnswer): string {
  switch (answer.kind) {
    case "ok":
      return `OK ${answer.size}\n`;
    case "deleted":
      return "OK 0\n";
    case "local":
      return "LOCAL\n";
    case "notFound":
      return "NOTFOUND\n";
    case "error":
      return errorLine(answer.why);
  }
}

function errorLine(why: string): string {
  return `ERROR ${pathFromBytes(new TextEncoder().encode(why.replaceAll("\n", " ")))}\n`;
}

/** The lines of a listing. One that cannot be whole ends with an error: it must not look complete (P3). */
async function* listing(entries: AsyncIterable<ListedName>): AsyncIterable<string> {
  let piece = "";
  try {
    for await (const { name, isDirectory } of entries) {
      piece += `${isDirectory ? "d" : "f"} ${name}\n`;
      if (piece.length < LIST_PIECE) continue;
      yield piece;
      piece = "";
    }
  } catch (error) {
    return yield errorLine(describeError(error));
  }
  yield piece + "END\n";
}

/** Lines are one character per byte. */
async function write(conn: Deno.Conn, lines: string): Promise<void> {
  let rest: Uint8Array = pathToBytes(lines);
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
    throw new EnvironmentError(`Cannot take over ${path}: ${reasonOf(error)}`);
  }
  throw new EnvironmentError(`Cannot listen on ${path}: another process serves it; stop it first`);
}
