/**
 * One S3 request and its answer: signing, sending, time limits, and telling failures apart.
 *
 * Time limits: the answer's head must come within {@link Limits.idleMs} plus what the body needs at
 * the slowest rate that is bearable, plus what the server has to copy or join; then each piece of the
 * answer's body within `idleMs`.
 *
 * @module
 */

import { type PutCondition, StorageError } from "../backend.ts";
import { stopped } from "../operation.ts";
import type { CredentialSource } from "./s3_credentials.ts";
import { isExpiry, refusalError } from "./s3_errors.ts";
import { uriEncode } from "./s3_keys.ts";
import { S3Signer } from "./s3_signer.ts";
import { xmlText } from "./s3_xml.ts";

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

/** Where a bucket is. */
export interface BucketAddress {
  /** `http://host[:port]`. */
  readonly origin: string;
  /** Host and, unless it is the scheme's own, port: as the `host` header says it. */
  readonly host: string;
  /** URI-encoded; `/bucket` in path style, else empty. */
  readonly basePath: string;
  readonly bucket: string;
  readonly region: string;
}

/** One request. */
export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** One character per byte; null for the bucket itself. */
  readonly key: string | null;
  readonly query?: Readonly<Record<string, string>>;
  /** `x-amz-…` headers, signed; lower-case names. */
  readonly amzHeaders?: readonly (readonly [string, string])[];
  /** Others, unsigned. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: Uint8Array<ArrayBuffer>;
  /** SHA-256 of the body, hexadecimal. */
  readonly payloadDigest: string;
  /** For errors: `store a/b in s3://bucket`. */
  readonly doing: string;
  readonly signal: AbortSignal;
  /** Bytes the server has to move before it can answer, beside the body. */
  readonly serverBytes?: number;
  /** Under which the object is stored. */
  readonly condition?: PutCondition | undefined;
  /** Statuses of 300 and above that are returned, not thrown. */
  readonly expects?: readonly number[];
}

/** Sends requests to one bucket. */
export class S3Requests {
  readonly #address: BucketAddress;
  readonly #credentials: CredentialSource;
  readonly #client: Deno.HttpClient;
  readonly #signer: S3Signer;
  readonly #limits: Limits;

  constructor(
    address: BucketAddress,
    credentials: CredentialSource,
    client: Deno.HttpClient,
    limits: Limits,
  ) {
    this.#address = address;
    this.#credentials = credentials;
    this.#client = client;
    this.#limits = limits;
    this.#signer = new S3Signer(address.region);
  }

  /**
   * Sends the request. The answer's body must be read or cancelled.
   * @throws StorageError when it cannot be sent or is refused.
   */
  async send(request: S3Request): Promise<S3Answer> {
    const { doing, signal } = request;
    if (signal.aborted) throw stopped(doing, signal);
    const nowMs = Date.now();
    const held = this.#credentials.get(nowMs);
    const credentials = held instanceof Promise ? await held : held;
    const { origin, host, basePath } = this.#address;
    const path = basePath + "/" + (request.key === null ? "" : uriEncode(request.key, true));
    const query = request.query === undefined ? "" : queryString(request.query);
    const headers = this.#signer.sign(
      {
        method: request.method,
        host,
        path,
        query,
        headers: request.amzHeaders ?? [],
        payloadDigest: request.payloadDigest,
      },
      credentials,
      nowMs,
    );
    // Bytes are wanted as they are stored.
    headers.push(["accept-encoding", "identity"]);
    if (request.headers !== undefined) headers.push(...request.headers as [string, string][]);
    const { condition } = request;
    if (condition?.ifAbsent) headers.push(["if-none-match", "*"]);
    else if (condition) headers.push(["if-match", condition.ifMatch]);
    const bodyBytes = request.body?.length ?? 0;
    const watch = new Watch(
      signal,
      this.#limits.idleMs + bodyBytes * 1000 / this.#limits.slowestBytesPerSecond +
        (request.serverBytes ?? 0) * 1000 / SERVER_BYTES_PER_SECOND,
    );
    let answer: S3Answer;
    try {
      const response = await fetch(origin + path + (query === "" ? "" : "?" + query), {
        method: request.method,
        headers,
        body: request.body ?? null,
        redirect: "manual",
        client: this.#client,
        signal: watch.signal,
      });
      answer = new S3Answer(response, watch, this.#limits.idleMs, doing, signal);
    } catch (error) {
      watch.end();
      throw failureOf(error, doing, signal, watch);
    }
    const { status } = answer;
    if (status < 300 || request.expects?.includes(status)) return answer;
    const body = request.method === "HEAD" ? (await answer.cancel(), "") : await answer.text();
    if (isExpiry(xmlText(body, "Code") ?? "")) this.#credentials.expire(credentials);
    throw refusalError({
      doing,
      bucket: this.#address.bucket,
      region: this.#address.region,
      status,
      headers: answer.headers,
      body,
      renewable: this.#credentials.renewable,
      conditional: condition !== undefined,
    });
  }
}

/** An answer whose head has come. */
export class S3Answer {
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
  if (watch.timedOut) {
    return new StorageError("transient", `Cannot ${doing}: no progress in time`, { cause: error });
  }
  const why = error instanceof Error ? error.message : String(error);
  if (/certificate/i.test(why)) {
    return new StorageError(
      "denied",
      `Cannot ${doing}: ${why}; name the CA's file in ca_cert_path, or correct the endpoint's name`,
      { cause: error },
    );
  }
  return new StorageError("transient", `Cannot ${doing}: ${why}`, { cause: error });
}

function queryString(query: Readonly<Record<string, string>>): string {
  return Object.keys(query).sort()
    .map((name) => `${uriEncode(name, false)}=${uriEncode(query[name]!, false)}`).join("&");
}
