/**
 * Kept HTTP/1.1 connections to one server: the runtime's `fetch` spends more on a 4 KiB object than
 * the server does (docs/architecture.md has the figures), and copies a large body twice.
 *
 * Only what is safe to send twice comes here: requests without condition, by a method that is
 * idempotent (RFC 9110 §9.2.2). Proxies, client certificates and unverified servers are left to
 * `fetch`.
 *
 * One request a connection at a time; its answer is read whole before the connection is kept for the
 * next. Limits of time are looked at by one timer for all connections.
 *
 * @module
 */

import { AnswerReader, type BodySink, type WireAnswer } from "./http_wire.ts";

/** Bodies up to this size are sent in one piece with the head, bytes. */
const SMALL_BODY_BYTES = 64 * 1024;

/** Connections kept for reuse. */
const MAX_IDLE = 256;

/** Less than servers keep idle connections, so that requests seldom meet one that just closed. */
const IDLE_MS = 15_000;

/** How often limits of time are looked at while a request is under way, and while none is, ms. */
const SWEEP_MS = 250, IDLE_SWEEP_MS = 2000;

/** A body that is made while it is sent. */
export interface BodySource {
  readonly length: number;
  /** Its bytes from the start; a piece is sent before the next is made. */
  pieces(): Iterable<Uint8Array>;
}

/** A request as it goes over the wire. */
export interface WireRequest {
  readonly method: string;
  /** Path and query, escaped. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array | BodySource | null;
}

/** The body could not be made; its cause says why. */
export class BodyFailed extends Error {
  override readonly name = "BodyFailed";
}

/** The time limit passed without progress. */
export class NoProgress extends Error {
  override readonly name = "NoProgress";
}

/** No connection could be made; nothing was sent. */
export class CannotConnect extends Error {
  override readonly name = "CannotConnect";
}

/** The server ended the connection before it answered. */
class Ended extends Error {}

/** Limits of one request. */
export interface WireLimits {
  /** Longest wait for a connection, and then for the answer's head, ms. */
  readonly headMs: number;
  /** Longest wait for each further piece of the answer, ms. */
  readonly idleMs: number;
  /** Longest body that is read. */
  readonly maxBytes: number;
}

interface Connection {
  readonly conn: Deno.Conn;
  readonly reader: AnswerReader;
  /** When it is given up: the limit of its request, or of being idle. */
  deadlineMs: number;
  overdue: boolean;
  /** Ends the wait for it: closing a connection ends no write. */
  onDrop: () => void;
}

/** See the module's description. */
export class HttpConnections {
  readonly #connect: () => Promise<Deno.Conn>;
  readonly #host: string;
  /** `http(s)://host[:port]` of the server. */
  readonly origin: string;
  /** Trusted beside the runtime's own, PEM. */
  readonly caCerts: readonly string[];
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  #sweeper: number | null = null;
  #sweepMs: number | null = null;

  /**
   * @param origin `http(s)://host[:port]` of the server.
   * @param caCerts Trusted beside the runtime's own, PEM.
   */
  constructor(origin: URL, caCerts: string[]) {
    const isTls = origin.protocol === "https:";
    const hostname = origin.hostname.replace(/^\[|\]$/g, "");
    const port = Number(origin.port || (isTls ? 443 : 80));
    this.origin = origin.origin;
    this.caCerts = caCerts;
    this.#host = origin.host;
    this.#connect = async () => {
      const conn = await Deno.connect({ hostname, port });
      conn.setNoDelay(true);
      if (!isTls) return conn;
      return await Deno.startTls(conn, { hostname, caCerts, alpnProtocols: ["http/1.1"] });
    };
  }

  /** Whether a request may go this way. */
  takes({ method, headers }: Pick<WireRequest, "method" | "headers">): boolean {
    if (method !== "PUT") return method !== "POST";
    // Stored by the first sending, it would be refused at the second.
    return !headers.some(([name]) => name === "if-match" || name === "if-none-match");
  }

  /**
   * Sends the request and reads its answer whole.
   * @param sink Gets the answer's body if it wants it.
   * @throws CannotConnect, NoProgress, BodyFailed, WireError, what the sink throws, or what the network says; an aborted signal ends
   * it with any of them.
   */
  async send(
    request: WireRequest,
    limits: WireLimits,
    signal: AbortSignal,
    sink: BodySink | null = null,
  ): Promise<WireAnswer> {
    const pieces = encode(request, this.#host);
    const kept = this.#takeIdle();
    if (kept !== null) {
      try {
        return await this.#exchange(kept, request.method, pieces, limits, signal, sink);
      } catch (error) {
        // The server closed it while it was idle: nothing was answered, so it is sent anew.
        if (!(error instanceof Ended)) throw error;
      }
    }
    const fresh = await this.#open(limits.headMs);
    return await this.#exchange(fresh, request.method, pieces, limits, signal, sink);
  }

  close(): void {
    for (const connection of this.#all) this.#drop(connection);
  }

  async #exchange(
    connection: Connection,
    method: string,
    pieces: readonly (Uint8Array | BodySource)[],
    limits: WireLimits,
    signal: AbortSignal,
    sink: BodySink | null,
  ): Promise<WireAnswer> {
    const { conn, reader } = connection;
    const dropped = Promise.withResolvers<never>();
    connection.onDrop = () => dropped.reject(new NoProgress("the connection was given up"));
    dropped.promise.catch(() => {}); // the answer may have come
    const stop = () => this.#drop(connection);
    signal.addEventListener("abort", stop);
    connection.deadlineMs = Date.now() + limits.headMs;
    this.#sweepEvery(SWEEP_MS);
    let keep = false;
    try {
      if (signal.aborted) throw signal.reason;
      // The answer is waited for from the start: a refusal may come before the body's end, and a
      // write that failed shows in what comes instead.
      let written = false;
      writeAll(conn, pieces).then(() => written = true, (error) => {
        if (error instanceof BodyFailed) dropped.reject(error);
      });
      const onProgress = () => connection.deadlineMs = Date.now() + limits.idleMs;
      const reading = reader.read(method, limits.maxBytes, onProgress, sink);
      reading.catch(() => {}); // not looked at when the connection is given up
      const answer = await Promise.race([reading, dropped.promise]);
      keep = answer.keepAlive && written;
      return answer;
    } catch (error) {
      if (connection.overdue) throw new NoProgress("no progress in time");
      if (!signal.aborted && reader.isUntouched && isEnd(error)) {
        throw new Ended("the server ended the connection before it answered");
      }
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      if (keep && this.#all.has(connection) && this.#idle.length < MAX_IDLE) {
        connection.deadlineMs = Date.now() + IDLE_MS;
        this.#idle.push(connection);
      } else {
        this.#drop(connection);
      }
    }
  }

  /** The connection that was used last: the others grow old and are closed. */
  #takeIdle(): Connection | null {
    return this.#idle.pop() ?? null;
  }

  async #open(timeoutMs: number): Promise<Connection> {
    const connecting = this.#connect();
    let timer = 0;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new NoProgress("no connection in time")), timeoutMs);
    });
    let conn: Deno.Conn;
    try {
      conn = await Promise.race([connecting, late]);
    } catch (error) {
      connecting.then((conn) => conn.close(), () => {});
      if (error instanceof NoProgress) throw error;
      throw new CannotConnect((error as Error).message, { cause: error });
    } finally {
      clearTimeout(timer);
    }
    const connection = {
      conn,
      reader: new AnswerReader(conn),
      deadlineMs: Infinity,
      overdue: false,
      onDrop: () => {},
    };
    this.#all.add(connection);
    this.#sweepEvery(SWEEP_MS);
    return connection;
  }

  #sweep(): void {
    const nowMs = Date.now();
    for (const connection of this.#all) {
      if (connection.deadlineMs >= nowMs) continue;
      connection.overdue = true;
      this.#drop(connection);
    }
    const isIdle = this.#all.size === this.#idle.length;
    if (this.#all.size > 0) this.#sweepEvery(isIdle ? IDLE_SWEEP_MS : SWEEP_MS);
  }

  /** Looks at the limits so often, ms; null: never. */
  #sweepEvery(ms: number | null): void {
    if (ms === this.#sweepMs) return;
    if (this.#sweeper !== null) clearInterval(this.#sweeper);
    this.#sweeper = ms === null ? null : setInterval(() => this.#sweep(), ms);
    this.#sweepMs = ms;
  }

  /** Closes a connection; what waits for it fails. */
  #drop(connection: Connection): void {
    if (!this.#all.delete(connection)) return;
    connection.onDrop();
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    try {
      connection.conn.close();
    } catch {
      // Closed already.
    }
    if (this.#all.size === 0) this.#sweepEvery(null);
  }
}

/** What could end a header early, or is no ASCII. */
const NOT_ALLOWED = /[^\x20-\x7e\t]/;

/** A small body goes with the head: one system call, and one packet where they fit. */
function encode(
  { method, target, headers, body }: WireRequest,
  host: string,
): (Uint8Array | BodySource)[] {
  let head = `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\nuser-agent: p4-cache\r\n`;
  for (const [name, value] of headers) {
    if (name === "host" || name === "content-length") continue;
    if (NOT_ALLOWED.test(value)) {
      throw new TypeError(`the header ${name} holds a character that is not allowed`);
    }
    head += `${name}: ${value}\r\n`;
  }
  if (body !== null || method === "PUT") head += `content-length: ${body?.length ?? 0}\r\n`;
  head += "\r\n";
  const isSmall = body === null || (body instanceof Uint8Array && body.length <= SMALL_BODY_BYTES);
  if (!isSmall) return [new TextEncoder().encode(head), body];
  const bytes = new Uint8Array(head.length + (body?.length ?? 0));
  new TextEncoder().encodeInto(head, bytes);
  if (body !== null) bytes.set(body, head.length);
  return [bytes];
}

async function writeAll(
  conn: Deno.Conn,
  pieces: readonly (Uint8Array | BodySource)[],
): Promise<void> {
  for (const piece of pieces) {
    for (const bytes of piece instanceof Uint8Array ? [piece] : madePieces(piece)) {
      for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
    }
  }
}

function* madePieces(source: BodySource): Iterable<Uint8Array> {
  try {
    yield* source.pieces();
  } catch (cause) {
    throw new BodyFailed("the body cannot be read", { cause });
  }
}

/** Whether the error is the other side's going away. */
function isEnd(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.ConnectionAborted;
}
