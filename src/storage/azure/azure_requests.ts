/**
 * One Azure Blob request: addressed, authorised, sent, and its refusal told.
 *
 * By hand: Microsoft's storage package needs more than six times the CPU time for
 * a small blob.
 *
 * @module
 */

import type { PutCondition } from "../backend.ts";
import type { FileSink } from "../file_transfer.ts";
import { exchange, type HttpAnswer, type HttpTransport, type Limits } from "../http_exchange.ts";
import { stopped } from "../operation.ts";
import { uriEncode } from "../object_keys.ts";
import type { Credentials, CredentialSource } from "./azure_credentials.ts";
import { type Permission, refusalError } from "./azure_errors.ts";

/** Version of the REST interface: the first with the cold tier. */
const VERSION = "2021-12-02";

/** Where a container is. */
export interface ContainerAddress {
  /** `https://host[:port]`. */
  readonly origin: string;
  /** What requests are sent to: the origin, or a way to it. */
  readonly reachedAt: string;
  /** URI-encoded path of the container: `/container`, or `/account/container`. */
  readonly basePath: string;
  readonly account: string;
  readonly container: string;
}

/** One request. */
export interface AzureRequest {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  /** One character per byte; null for the container itself. */
  readonly blob: string | null;
  readonly query?: Readonly<Record<string, string>>;
  /** Lower-case names, each once. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Where the answer's body may go. */
  readonly into?: FileSink | undefined;
  /** For errors: `store a/b in azure://account/container`. */
  readonly doing: string;
  readonly signal: AbortSignal;
  /** Bytes the server has to move before it can answer, beside the body. */
  readonly serverBytes?: number;
  /** Under which the blob is stored. */
  readonly condition?: PutCondition | undefined;
  /** Blob that is copied, one character per byte. */
  readonly copyOf?: string;
  /** Statuses of 300 and above that are returned, not thrown. */
  readonly expects?: readonly number[];
}

/** Sends requests to one container. */
export class AzureRequests {
  readonly #address: ContainerAddress;
  readonly #credentials: CredentialSource;
  readonly #client: HttpTransport;
  readonly #limits: Limits;
  #second = 0;
  #date = "";

  constructor(
    address: ContainerAddress,
    credentials: CredentialSource,
    client: HttpTransport,
    limits: Limits,
  ) {
    this.#address = address;
    this.#credentials = credentials;
    this.#client = client;
    this.#limits = limits;
  }

  /**
   * Sends the request. The answer's body must be read or cancelled.
   * @throws StorageError when it cannot be sent or is refused.
   */
  async send(request: AzureRequest): Promise<HttpAnswer> {
    const { doing, method, signal } = request;
    if (signal.aborted) throw stopped(doing, signal);
    const nowMs = Date.now();
    const held = this.#credentials.get(nowMs);
    const credentials = held instanceof Promise ? await held : held;
    const path = this.#path(request.blob);
    const headers = this.#headers(request, credentials, path, nowMs);
    let query = queryString(request.query ?? {});
    if (credentials.kind === "sas") query += (query === "" ? "" : "&") + credentials.query;
    const answer = await exchange(
      this.#address.reachedAt + path + (query === "" ? "" : "?" + query),
      { method, headers, body: request.body ?? null, into: request.into, client: this.#client },
      { limits: this.#limits, serverBytes: request.serverBytes ?? 0, doing, signal },
    );
    const { status } = answer;
    if (status < 300 || request.expects?.includes(status)) return answer;
    const body = method === "HEAD" ? (await answer.cancel(), "") : await answer.text();
    const renewed = (status === 401 || status === 403) &&
      this.#credentials.refused(credentials, nowMs);
    throw refusalError({
      doing,
      status,
      headers: answer.headers,
      body,
      credentials,
      permission: permissionFor(request),
      conditional: request.condition !== undefined,
      renewed,
      nowMs,
    });
  }

  #path(blob: string | null): string {
    const { basePath } = this.#address;
    return blob === null ? basePath : `${basePath}/${uriEncode(blob, true)}`;
  }

  #headers(
    request: AzureRequest,
    credentials: Credentials,
    path: string,
    nowMs: number,
  ): [string, string][] {
    const headers: [string, string][] = [
      ["x-ms-date", this.#dateText(nowMs)],
      ["x-ms-version", VERSION],
      ...(request.headers ?? []) as [string, string][],
    ];
    const { condition, copyOf } = request;
    if (condition?.ifAbsent) headers.push(["if-none-match", "*"]);
    else if (condition) headers.push(["if-match", condition.ifMatch]);
    if (copyOf !== undefined) {
      // Within one account the request's own key or token is good for the source, too.
      const sas = credentials.kind === "sas" ? "?" + credentials.query : "";
      headers.push(["x-ms-copy-source", this.#address.origin + this.#path(copyOf) + sas]);
    }
    if (credentials.kind === "key") {
      const { method, query = {}, body } = request;
      const length = body?.length ?? 0;
      const signature = credentials.signer.sign({ method, path, query, headers, length });
      headers.push(["authorization", signature]);
    } else if (credentials.kind === "token") {
      headers.push(["authorization", `Bearer ${credentials.token}`]);
    }
    // Bytes are wanted as they are stored.
    headers.push(["accept-encoding", "identity"]);
    return headers;
  }

  /** `Sat, 31 Jan 2026 12:00:00 GMT`; made once a second. */
  #dateText(nowMs: number): string {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#date = new Date(nowMs).toUTCString();
    }
    return this.#date;
  }
}

function permissionFor({ method, blob }: AzureRequest): Permission {
  if (method === "PUT") return "w";
  if (method === "DELETE") return "d";
  return blob === null ? "l" : "r";
}

function queryString(query: Readonly<Record<string, string>>): string {
  return Object.entries(query)
    .map(([name, value]) => `${name}=${uriEncode(value, false)}`).join("&");
}
