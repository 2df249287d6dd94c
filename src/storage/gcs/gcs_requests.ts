/**
 * One request to Google Cloud Storage: address, access token, and telling refusals apart.
 *
 * Objects are read through the XML API, whose answers carry the object's metadata beside its bytes;
 * everything else goes through the JSON API.
 *
 * @module
 */

import type { FileSink } from "../file_transfer.ts";
import { exchange, type HttpAnswer, type HttpTransport, type Limits } from "../http_exchange.ts";
import { keyFromText, uriEncode } from "../object_keys.ts";
import { stopped } from "../operation.ts";
import type { TokenSource } from "./gcs_credentials.ts";
import { refusalError } from "./gcs_errors.ts";

/** One request. */
export interface GcsRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** URI-encoded; see {@link GcsPaths}. */
  readonly path: string;
  /** Values have one character per byte. */
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Where the answer's body may go. */
  readonly into?: FileSink | undefined;
  /** IAM permission that it needs, for errors. */
  readonly permission: string;
  /** For errors: `store a/b in gs://bucket`. */
  readonly doing: string;
  readonly signal: AbortSignal;
  /** Bytes the server has to move before it can answer, beside the body. */
  readonly serverBytes?: number;
  /** Whether the object is stored under a condition. */
  readonly conditional?: boolean;
  /** Statuses of 300 and above that are returned, not thrown. */
  readonly expects?: readonly number[];
}

/** The paths of one bucket, below the endpoint. Keys have one character per byte. */
class GcsPaths {
  readonly #bucket: string;

  constructor(bucket: string) {
    this.#bucket = uriEncode(keyFromText(bucket), false);
  }

  /** An object's bytes (XML API). */
  media(key: string): string {
    return `/${this.#bucket}/${uriEncode(key, true)}`;
  }

  /** The objects of the bucket (JSON API). */
  get objects(): string {
    return `/storage/v1/b/${this.#bucket}/o`;
  }

  object(key: string): string {
    return `${this.objects}/${uriEncode(key, false)}`;
  }

  /** @param bucket The source's; null: this one. */
  rewrite(from: string, to: string, bucket: string | null): string {
    const source = bucket === null ? this : new GcsPaths(bucket);
    return `${source.object(from)}/rewriteTo/b/${this.#bucket}/o/${uriEncode(to, false)}`;
  }

  get uploads(): string {
    return `/upload${this.objects}`;
  }
}

/** Where and as whom requests are sent. */
export interface GcsConnection {
  /** `http(s)://host[:port][/path]`, without a slash at its end. */
  readonly base: string;
  readonly bucket: string;
  readonly client: HttpTransport;
  /** Null: without credentials. */
  readonly tokens: TokenSource | null;
  /** Project that pays for requests; null: the bucket's. */
  readonly userProject: string | null;
  readonly limits: Limits;
}

/** Sends requests to one bucket. */
export class GcsRequests {
  readonly #connection: GcsConnection;
  readonly paths: GcsPaths;

  constructor(connection: GcsConnection) {
    this.#connection = connection;
    this.paths = new GcsPaths(connection.bucket);
  }

  /**
   * Sends the request. The answer's body must be read or cancelled.
   * @throws StorageError when it cannot be sent or is refused.
   */
  async send(request: GcsRequest): Promise<HttpAnswer> {
    const { base, bucket, client, tokens, userProject, limits } = this.#connection;
    const { method, doing, signal, serverBytes = 0 } = request;
    if (signal.aborted) throw stopped(doing, signal);
    const held = tokens === null ? null : tokens.get(Date.now());
    const token = held instanceof Promise ? await unlessStopped(held, doing, signal) : held;
    const headers: [string, string][] = [["accept-encoding", "identity"]];
    if (token !== null) headers.push(["authorization", `Bearer ${token}`]);
    if (userProject !== null) headers.push(["x-goog-user-project", userProject]);
    if (request.headers !== undefined) headers.push(...request.headers as [string, string][]);
    const answer = await exchange(
      base + request.path + queryString(request.query ?? {}),
      { method, headers, body: request.body ?? null, into: request.into, client },
      { limits, serverBytes, doing, signal },
    );
    const { status } = answer;
    if (status < 300 || request.expects?.includes(status)) return answer;
    const body = await answer.text();
    const renewable = status === 401 && token !== null && tokens!.refused(token, Date.now());
    throw refusalError({
      doing,
      bucket,
      status,
      headers: answer.headers,
      body,
      permission: request.permission,
      renewable,
      conditional: request.conditional ?? false,
    });
  }
}

/** Waits, but not for longer than the operation may run. */
function unlessStopped<T>(waiting: Promise<T>, doing: string, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(stopped(doing, signal));
    signal.addEventListener("abort", stop);
    waiting.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** A JSON document as a body. */
export function jsonBody(value: unknown): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new TextEncoder().encode(JSON.stringify(value)));
}

function queryString(query: Readonly<Record<string, string>>): string {
  const parts = Object.entries(query).map(([name, value]) => `${name}=${uriEncode(value, false)}`);
  return parts.length === 0 ? "" : "?" + parts.join("&");
}
