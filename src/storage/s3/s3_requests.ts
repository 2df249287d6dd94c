/**
 * One S3 request: signing, sending, and telling refusals apart.
 *
 * @module
 */

import type { PutCondition, StorageError } from "../backend.ts";
import type { FileBody, FileSink } from "../file_transfer.ts";
import { exchange, type HttpAnswer, type HttpTransport, type Limits } from "../http_exchange.ts";
import { uriEncode } from "../object_keys.ts";
import { stopped } from "../operation.ts";
import { xmlText } from "../xml.ts";
import type { CredentialSource } from "./s3_credentials.ts";
import { isAboutCredentials, neededPermissions, refusalError } from "./s3_errors.ts";
import { type Credentials, S3Signer } from "./s3_signer.ts";

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
  readonly body?: Uint8Array<ArrayBuffer> | FileBody;
  /** Where the answer's body may go. */
  readonly into?: FileSink | undefined;
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
  readonly #client: HttpTransport;
  readonly #signer: S3Signer;
  readonly #limits: Limits;
  readonly #commonHeaders: readonly (readonly [string, string])[];

  /** @param commonHeaders `x-amz-…` headers of every request. */
  constructor(
    address: BucketAddress,
    credentials: CredentialSource,
    client: HttpTransport,
    limits: Limits,
    commonHeaders: readonly (readonly [string, string])[] = [],
  ) {
    this.#address = address;
    this.#credentials = credentials;
    this.#client = client;
    this.#limits = limits;
    this.#commonHeaders = commonHeaders;
    this.#signer = new S3Signer(address.region);
  }

  /**
   * Sends the request; once more with other credentials when those it had were refused. The answer's
   * body must be read or cancelled.
   * @throws StorageError when it cannot be sent or is refused.
   */
  async send(request: S3Request): Promise<HttpAnswer> {
    const { doing, signal } = request;
    if (signal.aborted) throw stopped(doing, signal);
    const held = this.#credentials.get(Date.now());
    let credentials = held instanceof Promise ? await held : held;
    for (;;) {
      const answer = await this.#sendSigned(request, credentials);
      const { status } = answer;
      if (status < 300 || request.expects?.includes(status)) return answer;
      const body = request.method === "HEAD" ? (await answer.cancel(), "") : await answer.text();
      const others = isAboutCredentials(xmlText(body, "Code") ?? "")
        ? await this.#credentials.replace(credentials, Date.now())
        : null;
      if (others === null) throw this.#refusal(request, answer, body);
      credentials = others;
    }
  }

  async #sendSigned(request: S3Request, credentials: Credentials): Promise<HttpAnswer> {
    const { origin, host, basePath } = this.#address;
    const path = basePath + "/" + (request.key === null ? "" : uriEncode(request.key, true));
    const query = request.query === undefined ? "" : queryString(request.query);
    const headers = this.#signer.sign(
      {
        method: request.method,
        host,
        path,
        query,
        headers: [...this.#commonHeaders, ...request.amzHeaders ?? []],
        payloadDigest: request.payloadDigest,
      },
      credentials,
      Date.now(),
    );
    // Bytes are wanted as they are stored.
    headers.push(["accept-encoding", "identity"]);
    if (request.headers !== undefined) headers.push(...request.headers as [string, string][]);
    const { condition, doing, signal } = request;
    if (condition?.ifAbsent) headers.push(["if-none-match", "*"]);
    else if (condition) headers.push(["if-match", condition.ifMatch]);
    return await exchange(
      origin + path + (query === "" ? "" : "?" + query),
      {
        method: request.method,
        headers,
        body: request.body ?? null,
        into: request.into,
        client: this.#client,
      },
      { limits: this.#limits, serverBytes: request.serverBytes ?? 0, doing, signal },
    );
  }

  #refusal(request: S3Request, { status, headers }: HttpAnswer, body: string): StorageError {
    return refusalError({
      doing: request.doing,
      bucket: this.#address.bucket,
      region: this.#address.region,
      status,
      headers,
      body,
      conditional: request.condition !== undefined,
      permissions: neededPermissions(request),
      nowMs: Date.now(),
    });
  }
}

function queryString(query: Readonly<Record<string, string>>): string {
  return Object.keys(query).sort()
    .map((name) => `${uriEncode(name, false)}=${uriEncode(query[name]!, false)}`).join("&");
}
