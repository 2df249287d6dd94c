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

import { StorageError } from "./backend.ts";
import { stopped } from "./operation.ts";

/** Longest error document or listing page that is read, bytes. */
const MAX_DOCUMENT_BYTES = 16 * 1024 * 1024;

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

/**
 * Sends a request; redirects are not followed. The answer's body must be read or cancelled.
 * @throws StorageError when no answer comes, whatever its status.
 */
export async function exchange(
  url: string,
  request: {
    readonly method: string;
    readonly headers: [string, string][];
    readonly body: Uint8Array<ArrayBuffer> | null;
    readonly client: Deno.HttpClient;
  },
  errand: Errand,
): Promise<HttpAnswer> {
  const { limits, doing, signal } = errand;
  if (signal.aborted) throw stopped(doing, signal);
  const watch = new Watch(
    signal,
    limits.idleMs + (request.body?.length ?? 0) * 1000 / limits.slowestBytesPerSecond +
      (errand.serverBytes ?? 0) * 1000 / SERVER_BYTES_PER_SECOND,
  );
  try {
    const response = await fetch(url, { ...request, redirect: "manual", signal: watch.signal });
    return new HttpAnswer(response, watch, limits.idleMs, doing, signal);
  } catch (error) {
    watch.end();
    throw failureOf(error, doing, signal, watch);
  }
}

/** An answer whose head has come. */
export class HttpAnswer {
  readonly status: number;
  readonly headers: Headers;
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

  /** The header's number; null when it is missing or none. */
  number(name: string): number | null {
    const text = this.headers.get(name);
    return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
  }

  /** Reads a body of exactly so many bytes. @throws StorageError transient when it is another. */
  async bytes(length: number): Promise<Uint8Array<ArrayBuffer>> {
    try {
      if (length < PIECEWISE_BYTES && this.number("content-length") === length) {
        this.#watch.restart(this.#idleMs);
        const bytes = new Uint8Array(await this.#response.arrayBuffer());
        if (bytes.length === length) return bytes;
        throw this.#cut(bytes.length, length);
      }
      const bytes = new Uint8Array(length);
      const got = await this.#pieces(length, (piece, at) => bytes.set(piece, at));
      if (got !== length) throw this.#cut(got, length);
      return bytes;
    } catch (error) {
      throw failureOf(error, this.#doing, this.#signal, this.#watch);
    } finally {
      this.#watch.end();
    }
  }

  /** Reads a document. */
  async text(): Promise<string> {
    try {
      const decoder = new TextDecoder();
      let text = "";
      await this.#pieces(
        MAX_DOCUMENT_BYTES,
        (piece) => text += decoder.decode(piece, { stream: true }),
      );
      return text + decoder.decode();
    } catch (error) {
      throw failureOf(error, this.#doing, this.#signal, this.#watch);
    } finally {
      this.#watch.end();
    }
  }

  /** Lets the body go unread. */
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
      if (at + piece.length > limit) throw this.#cut(at + piece.length, limit);
      take(piece, at);
      at += piece.length;
      this.#watch.restart(this.#idleMs);
    }
    return at;
  }

  #cut(got: number, wanted: number): StorageError {
    return new StorageError(
      "transient",
      `Cannot ${this.#doing}: ${got} bytes of body came instead of ${wanted}`,
    );
  }
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
  watch: Watch,
): StorageError {
  if (error instanceof StorageError) return error;
  if (signal.aborted) return stopped(doing, signal);
  if (watch.timedOut) return new StorageError("transient", `Cannot ${doing}: no progress in time`);
  // The runtime names the URL, whose query can hold a signature. So the error is no cause, either.
  const why = (error instanceof Error ? error.message : String(error)).replace(/\?[^\s)"']*/g, "");
  if (/CertificateRequired/.test(why)) {
    return new StorageError(
      "denied",
      `Cannot ${doing}: ${why}; give the server a certificate with client_cert_path and ` +
        "client_key_path",
    );
  }
  if (/certificate/i.test(why)) {
    return new StorageError(
      "denied",
      `Cannot ${doing}: ${why}; name the CA's file in ca_cert_path, or correct the endpoint's name`,
    );
  }
  const hint = /dns error/i.test(why)
    ? "; check the endpoint's name, and this machine's name servers"
    : "";
  return new StorageError("transient", `Cannot ${doing}: ${why}${hint}`);
}

/** `Retry-After` (RFC 9110 §10.2.3) in ms: seconds or a date. */
export function retryAfterMs(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (value === null) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(delayMs) ? Math.max(0, delayMs) : undefined;
}
