/**
 * One HTTP request and its answer, for every backend that speaks HTTP: time limits, and telling
 * failures apart. What a refusal means is the backend's to say.
 *
 * Time limits: the answer's head must come within {@link Limits.idleMs} plus what the body needs at
 * the slowest rate that is bearable, plus what the server has to copy or join; then each piece of the
 * answer's body within `idleMs`.
 *
 * @module
 */

import { certificateAdvice } from "./certificate_advice.ts";
import { StorageError } from "./backend.ts";
import { type FileBody, FileFailed, type FileSink, type Written } from "./file_transfer.ts";
import {
  CannotConnect,
  type HttpConnections,
  NoProgress,
  type WireLimits,
} from "./http_connections.ts";
import type { WireAnswer } from "./http_wire.ts";
import { stopped } from "./operation.ts";
import { requestFailure } from "./request_failure.ts";

/** Longest body that is read whole, bytes: a page of a listing, or two slices. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** Bodies from here on are read piece by piece, with a time limit for each. */
const PIECEWISE_BYTES = 256 * 1024;

/** Slowest copying within a server that is waited for: some answer only when all is done. */
const SERVER_BYTES_PER_SECOND = 8 * 1024 * 1024;

/** Time limits of a request. */
export interface Limits {
  /** Longest time without any progress, ms. */
  readonly idleMs: number;
  /** Slowest upload that is waited for, bytes a second. */
  readonly slowestBytesPerSecond: number;
}

/** What the daemon uses. */
export const DEFAULT_LIMITS: Limits = { idleMs: 30_000, slowestBytesPerSecond: 64 * 1024 };

/** What a request is for, and how long it may take. */
export interface Errand {
  readonly limits: Limits;
  /** Bytes the server has to move before it can answer, beside the body. */
  readonly serverBytes?: number;
  /** For errors: `store a/b in s3://bucket`. */
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** How a backend reaches its server. */
export interface HttpTransport {
  /** Takes any request. */
  readonly platform: Deno.HttpClient;
  /** The quick way for small requests; null where only the platform's will do. */
  readonly direct: HttpConnections | null;
}

/** One request. */
export interface HttpRequest {
  readonly method: string;
  readonly headers: [string, string][];
  readonly body: Uint8Array<ArrayBuffer> | FileBody | null;
  /** Where the answer's body may go. */
  readonly into?: FileSink | undefined;
  readonly client: HttpTransport;
}

/** An answer whose head has come. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  /** The header's number; null when it is missing or none. */
  number(name: string): number | null;
  /** Reads a body of exactly so many bytes. @throws StorageError transient when it is another. */
  bytes(length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Reads a document. */
  text(): Promise<string>;
  /** Lets the body go unread. */
  cancel(): Promise<void>;
  /** What of the body went into a file: all of it, or nothing. */
  readonly written: Written | null;
}

/**
 * Sends a request; redirects are not followed. The answer's body must be read or cancelled.
 * @throws StorageError when no answer comes, whatever its status.
 */
export async function exchange(
  url: string,
  request: HttpRequest,
  errand: Errand,
): Promise<HttpAnswer> {
  const { limits, doing, signal } = errand;
  if (signal.aborted) throw stopped(doing, signal);
  const headMs = limits.idleMs +
    (request.body?.length ?? 0) * 1000 / limits.slowestBytesPerSecond +
    (errand.serverBytes ?? 0) * 1000 / SERVER_BYTES_PER_SECOND;
  const { direct } = request.client;
  if (direct !== null && url.startsWith(direct.origin) && direct.takes(request)) {
    const answer = await exchangeDirectly(direct, url, request, headMs, errand);
    if (answer !== null) return answer;
  }
  const body = await bytesOf(request.body, doing);
  const watch = new Watch(signal, headMs);
  try {
    const { method, headers, client } = request;
    const response = await fetch(url, {
      method,
      headers,
      body,
      client: client.platform,
      redirect: "manual",
      signal: watch.signal,
    });
    return new StreamedAnswer(response, watch, limits.idleMs, doing, signal);
  } catch (error) {
    watch.end();
    throw failureOf(error, doing, signal, watch.timedOut);
  }
}

/** Null when the server cannot be reached so: the platform may know another address of its name. */
async function exchangeDirectly(
  direct: HttpConnections,
  url: string,
  { method, headers, body, into }: HttpRequest,
  headMs: number,
  { limits: { idleMs }, doing, signal }: Errand,
): Promise<HttpAnswer | null> {
  const limits: WireLimits = { headMs, idleMs, maxBytes: MAX_BODY_BYTES };
  const request = { method, target: url.slice(direct.origin.length), headers };
  const order = { server: direct, request, limits };
  try {
    if (body !== null && !(body instanceof Uint8Array)) {
      return new WholeAnswer(await body.send(order, signal), null, doing);
    }
    if (body === null && into !== undefined) {
      const answer = await into.receive(order, signal);
      return new WholeAnswer(answer, answer.written, doing);
    }
    const answer = await direct.send({ ...request, body }, limits, signal);
    return new WholeAnswer(answer, null, doing);
  } catch (error) {
    if (error instanceof CannotConnect && !signal.aborted) return null;
    throw failureOf(error, doing, signal, error instanceof NoProgress);
  }
}

/** The body in memory. */
async function bytesOf(
  body: HttpRequest["body"],
  doing: string,
): Promise<Uint8Array<ArrayBuffer> | null> {
  if (body === null || body instanceof Uint8Array) return body;
  try {
    return await body.read();
  } catch (cause) {
    throw fileFailure(cause, doing);
  }
}

/** Nothing was wrong with the server: the file is. */
function fileFailure(cause: unknown, doing: string): StorageError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new StorageError("permanent", `Cannot ${doing}: its content cannot be used: ${why}`, {
    cause,
  });
}

const UTF8 = new TextDecoder();

/** An answer that was read whole. */
class WholeAnswer implements HttpAnswer {
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  readonly written: Written | null;
  readonly #body: Uint8Array<ArrayBuffer>;
  readonly #doing: string;

  constructor({ status, headers, body }: WireAnswer, written: Written | null, doing: string) {
    this.status = status;
    this.written = written;
    this.headers = { get: (name) => headers.get(name) ?? null };
    this.#body = body;
    this.#doing = doing;
  }

  number(name: string): number | null {
    return numberIn(this.headers, name);
  }

  bytes(length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#body.length === length) return Promise.resolve(this.#body);
    return Promise.reject(cutBody(this.#doing, this.#body.length, length));
  }

  text(): Promise<string> {
    return Promise.resolve(UTF8.decode(this.#body));
  }

  cancel(): Promise<void> {
    return Promise.resolve();
  }
}

/** An answer of the platform's, whose body is still on its way. */
class StreamedAnswer implements HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly written = null;
  readonly #response: Response;
  readonly #watch: Watch;
  readonly #idleMs: number;
  readonly #doing: string;
  readonly #signal: AbortSignal;

  constructor(
    response: Response,
    watch: Watch,
    idleMs: number,
    doing: string,
    signal: AbortSignal,
  ) {
    this.status = response.status;
    this.headers = response.headers;
    this.#response = response;
    this.#watch = watch;
    this.#idleMs = idleMs;
    this.#doing = doing;
    this.#signal = signal;
  }

  number(name: string): number | null {
    return numberIn(this.headers, name);
  }

  async bytes(length: number): Promise<Uint8Array<ArrayBuffer>> {
    try {
      if (length < PIECEWISE_BYTES && this.number("content-length") === length) {
        this.#watch.restart(this.#idleMs);
        const bytes = new Uint8Array(await this.#response.arrayBuffer());
        if (bytes.length === length) return bytes;
        throw cutBody(this.#doing, bytes.length, length);
      }
      const bytes = new Uint8Array(length);
      const got = await this.#pieces(length, (piece, at) => bytes.set(piece, at));
      if (got !== length) throw cutBody(this.#doing, got, length);
      return bytes;
    } catch (error) {
      throw failureOf(error, this.#doing, this.#signal, this.#watch.timedOut);
    } finally {
      this.#watch.end();
    }
  }

  async text(): Promise<string> {
    try {
      const length = this.number("content-length");
      if (length !== null && length < PIECEWISE_BYTES) {
        this.#watch.restart(this.#idleMs);
        return await this.#response.text();
      }
      const decoder = new TextDecoder();
      let text = "";
      await this.#pieces(
        MAX_BODY_BYTES,
        (piece) => text += decoder.decode(piece, { stream: true }),
      );
      return text + decoder.decode();
    } catch (error) {
      throw failureOf(error, this.#doing, this.#signal, this.#watch.timedOut);
    } finally {
      this.#watch.end();
    }
  }

  async cancel(): Promise<void> {
    try {
      await this.#response.body?.cancel();
    } catch {
      // The connection is gone; nobody wants the rest.
    } finally {
      this.#watch.end();
    }
  }

  /** Hands out the body piece by piece; fails when it is longer than `limit`. */
  async #pieces(
    limit: number,
    take: (piece: Uint8Array, at: number) => void,
  ): Promise<number> {
    const body = this.#response.body;
    if (body === null) return 0;
    let at = 0;
    for await (const piece of body) {
      if (at + piece.length > limit) throw cutBody(this.#doing, at + piece.length, limit);
      take(piece, at);
      at += piece.length;
      this.#watch.restart(this.#idleMs);
    }
    return at;
  }
}

function numberIn(headers: HttpAnswer["headers"], name: string): number | null {
  const text = headers.get(name);
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function cutBody(doing: string, got: number, wanted: number): StorageError {
  return new StorageError(
    "transient",
    `Cannot ${doing}: ${got} bytes of body came instead of ${wanted}`,
  );
}

/** Aborts a request from outside and after a time. */
class Watch {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #stop: () => void;
  #timer: number;
  timedOut = false;

  constructor(outer: AbortSignal, ms: number) {
    this.#outer = outer;
    this.#stop = () => this.#controller.abort(outer.reason);
    outer.addEventListener("abort", this.#stop);
    this.#timer = setTimeout(this.#expire, ms);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#expire, ms);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#stop);
  }

  readonly #expire = () => {
    this.timedOut = true;
    this.#controller.abort();
  };
}

function failureOf(
  error: unknown,
  doing: string,
  signal: AbortSignal,
  timedOut: boolean,
): StorageError {
  if (error instanceof StorageError) return error;
  if (signal.aborted) return stopped(doing, signal);
  if (error instanceof FileFailed) return fileFailure(error.cause, doing);
  if (timedOut) return new StorageError("transient", `Cannot ${doing}: no progress in time`);
  // What the runtime says can hold a signature. So the error is no cause, either.
  const why = requestFailure(error instanceof Error ? error.message : String(error));
  if (/CertificateRequired/.test(why)) {
    return new StorageError(
      "denied",
      `Cannot ${doing}: ${why}; give the server a certificate with client_cert_path and ` +
        "client_key_path",
    );
  }
  if (/certificate/i.test(why)) {
    return new StorageError("denied", `Cannot ${doing}: ${why}; ${certificateAdvice(why)}`);
  }
  const hint = /dns error/i.test(why)
    ? "; check the endpoint's name, and this machine's name servers"
    : "";
  return new StorageError("transient", `Cannot ${doing}: ${why}${hint}`);
}

/** `Retry-After` (RFC 9110 §10.2.3) in ms: seconds or a date. */
export function retryAfterMs(headers: HttpAnswer["headers"]): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
}
