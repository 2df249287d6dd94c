/**
 * Another daemon's depot as storage that is only read: files that it has not uploaded yet, or its cache on
 * the same network.
 *
 * @module
 */

import * as v from "valibot";
import { type DepotPath, displayPath, pathProblem } from "../../depot_path.ts";
import {
  type Backend,
  type ListedObject,
  type ObjectInfo,
  type ObjectPart,
  type RangeOptions,
  StorageError,
  type StorageErrorKind,
} from "../backend.ts";
import type { FileSink } from "../file_transfer.ts";
import { type BackendClient, openHttpClient } from "../http_client.ts";
import {
  DEFAULT_LIMITS,
  exchange,
  type HttpAnswer,
  type Limits,
  retryAfterMs,
} from "../http_exchange.ts";
import { changed, partOf, partOfVersion, rangeHeader, sizeOf } from "../http_range.ts";
import { escapePath, unescapePath, uriEncode } from "../object_keys.ts";
import { readMetadata } from "../stored_metadata.ts";
import {
  CIRCLE,
  IF_TAG,
  LIST_PAGE,
  META,
  MORE,
  OBJECT_PAGE,
  PEER_HEADER,
  READERS,
  STORED_MS,
  TAG,
  UNLESS_TAG,
} from "./peer_protocol.ts";

/** What the backend is told. */
export interface PeerOptions {
  /** `https://host:port`. */
  readonly endpoint: string;
  /** The token as it is now. */
  readonly token: () => string;
  /** Who reads there through us (`peer_readers.ts`); null: nobody can. */
  readonly readers: (() => string) | null;
  readonly caCertPath: string | null;
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
  readonly idleTimeoutSeconds: number;
}

/** Kinds of refusals; those not named are permanent. */
const KINDS: ReadonlyMap<number, StorageErrorKind> = new Map([
  [401, "denied"],
  [403, "denied"],
  [429, "throttled"],
  [500, "transient"],
  [502, "transient"],
  [503, "transient"],
  [504, "transient"],
]);

const LISTED = v.object({ path: v.string(), size: v.number(), etag: v.string() });

/** See the module. */
export class PeerBackend implements Backend {
  readonly label: string;
  readonly #client: BackendClient;
  readonly #token: () => string;
  readonly #readers: (() => string) | null;
  readonly #limits: Limits;

  private constructor(client: BackendClient, options: PeerOptions) {
    this.label = `peer ${options.endpoint}`;
    this.#client = client;
    this.#token = options.token;
    this.#readers = options.readers;
    this.#limits = { ...DEFAULT_LIMITS, idleMs: options.idleTimeoutSeconds * 1000 };
  }

  /** @throws StorageError when a certificate cannot be read. */
  static async open(options: PeerOptions): Promise<PeerBackend> {
    const { origin } = new URL(options.endpoint);
    return new PeerBackend(await openHttpClient({ ...options, verifySsl: true }, origin), options);
  }

  put(path: DepotPath): Promise<never> {
    return this.#refuse("store", path);
  }

  copy(_from: DepotPath, to: DepotPath): Promise<never> {
    return this.#refuse("store", to);
  }

  delete(path: DepotPath): Promise<never> {
    return this.#refuse("remove", path);
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    { ifMatch, into, signal }: RangeOptions,
  ): Promise<ObjectPart> {
    const condition: [string, string][] = ifMatch === undefined
      ? []
      : [[IF_TAG, uriEncode(ifMatch, false)]];
    const doing = this.#doing("read", path);
    const part = await this.#read(path, offset, length, condition, doing, signal, into);
    return partOfVersion(part, ifMatch, doing);
  }

  getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart | null> {
    const condition: [string, string] = [UNLESS_TAG, uriEncode(etag, false)];
    return this.#read(path, 0, length, [condition], this.#doing("read", path), signal);
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    const doing = this.#doing("describe", path);
    const answer = await this.#send("HEAD", objectPage(path), [], doing, signal);
    await answer.cancel();
    return infoOf(answer, sizeOf(answer, doing));
  }

  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    const doing = `list ${this.label}`;
    for (let last = after;;) {
      const page = `${LIST_PAGE}?prefix=${uriEncode(prefix, false)}&after=${
        uriEncode(last, false)
      }`;
      const answer = await this.#send("GET", page, [], doing, signal);
      const hasMore = answer.headers.get(MORE) !== null;
      const objects = listed(await answer.text(), doing);
      yield* objects;
      if (!hasMore || objects.length === 0) return;
      last = objects.at(-1)!.path;
    }
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  async #read(
    path: DepotPath,
    offset: number,
    length: number,
    condition: [string, string][],
    doing: string,
    signal: AbortSignal,
    into?: FileSink,
  ): Promise<ObjectPart | null> {
    // A part of no bytes cannot be asked for.
    const wanted = Math.max(1, length);
    const headers: [string, string][] = [rangeHeader(offset, wanted), ...condition];
    const answer = await this.#send("GET", objectPage(path), headers, doing, signal, into);
    const head = () => this.head(path, signal);
    const part = await partOf(answer, { offset, length: wanted, doing, infoOf, head });
    return part === null ? null : { ...part, bytes: part.bytes.subarray(0, length) };
  }

  /** @throws StorageError for every answer but what was asked for, or that it did not change. */
  async #send(
    method: string,
    page: string,
    headers: [string, string][],
    doing: string,
    signal: AbortSignal,
    into?: FileSink,
  ): Promise<HttpAnswer> {
    const answer = await exchange(
      this.#client.origin + page,
      {
        method,
        headers: [["authorization", `Bearer ${this.#token()}`], ...this.#named(), ...headers],
        body: null,
        into,
        client: this.#client.http,
      },
      { limits: this.#limits, doing, signal },
    );
    const isPeer = answer.headers.get(PEER_HEADER) !== null;
    const { status } = answer;
    if (isPeer && (status === 200 || status === 206 || status === 304 || status === 416)) {
      return answer;
    }
    const why = method === "HEAD" ? "" : (await answer.text()).trim().slice(0, 500);
    if (method === "HEAD") await answer.cancel();
    if (isPeer && status === 412) throw changed(doing);
    const kind = isPeer && status === 404 ? "absent" : KINDS.get(status) ?? "permanent";
    const hint = status === 401
      ? "; give the peer's token in token_file"
      : isPeer && status === CIRCLE
      ? "; it reads from here in turn: take one of the peers out of the circle"
      : isPeer
      ? ""
      : "; no p4-cache answers there: correct the endpoint";
    const wait = retryAfterMs(answer.headers);
    throw new StorageError(
      kind,
      `Cannot ${doing}: HTTP ${status}${why === "" ? "" : ` (${why})`}${hint}`,
      wait === undefined ? {} : { retryAfterMs: wait },
    );
  }

  #named(): [string, string][] {
    return this.#readers === null ? [] : [[READERS, this.#readers()]];
  }

  #refuse(verb: string, path: DepotPath): Promise<never> {
    const text = `Cannot ${this.#doing(verb, path)}: a peer is only read`;
    return Promise.reject(new StorageError("permanent", text));
  }

  #doing(verb: string, path: DepotPath): string {
    return `${verb} ${displayPath(path)} at ${this.label}`;
  }
}

function objectPage(path: DepotPath): string {
  return `${OBJECT_PAGE}?path=${uriEncode(path, false)}`;
}

function infoOf(answer: HttpAnswer, size: number): ObjectInfo {
  const { headers } = answer;
  const storedMs = answer.number(STORED_MS);
  return {
    size,
    etag: decodeBytes(headers.get(TAG) ?? ""),
    ...readMetadata((name) => headers.get(META + name)),
    ...(storedMs === null ? {} : { storedMs }),
  };
}

/** What {@link uriEncode} wrote. */
function decodeBytes(text: string): string {
  return text.replace(
    /%([0-9A-F]{2})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 16)),
  );
}

/** @throws StorageError corrupt */
function listed(text: string, doing: string): ListedObject[] {
  try {
    return text.split("\n").filter((line) => line !== "").map((line) => {
      const { path, size, etag } = v.parse(LISTED, JSON.parse(line));
      const plain = unescapePath(path);
      if (plain === null || pathProblem(plain) !== null) throw new Error(`${path} is no path`);
      return { path: plain as DepotPath, size, etag };
    });
  } catch (cause) {
    throw new StorageError("corrupt", `Cannot ${doing}: ${cause}`, { cause });
  }
}

/** A line of a listing, for the server. */
export function listedLine({ path, size, etag }: ListedObject): string {
  return JSON.stringify({ path: escapePath(path), size, etag }) + "\n";
}
