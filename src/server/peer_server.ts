/**
 * Serves the depot's files to other daemons (`peer_listen`): HTTPS, reads only, and nothing at all without
 * the token. The protocol is in `src/storage/peer/peer_protocol.ts`.
 *
 * Limits: requests a second, bytes held in memory, requests that wait. Who comes beyond them is told to
 * come later.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { type DepotPath, pathProblem } from "../depot_path.ts";
import type { ListenAddress } from "../config/listen_address.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import {
  type ListedObject,
  type ObjectInfo,
  SLICE_BYTES,
  StorageError,
} from "../storage/backend.ts";
import { uriEncode } from "../storage/object_keys.ts";
import { PartBudget } from "../storage/part_budget.ts";
import { listedLine } from "../storage/peer/peer_backend.ts";
import {
  CIRCLE,
  IF_TAG,
  LIST_ENTRIES,
  LIST_PAGE,
  META,
  MORE,
  OBJECT_PAGE,
  PEER_HEADER,
  PEER_VERSION,
  READERS,
  STORED_MS,
  TAG,
  UNLESS_TAG,
} from "../storage/peer/peer_protocol.ts";
import type { RateGate } from "../storage/rate_gate.ts";
import { metadataEntries } from "../storage/stored_metadata.ts";

/** Bytes of answers in memory at once. */
const MEMORY_BYTES = 8 * SLICE_BYTES;

/** Requests that wait to be let in; more are sent away. */
const MAX_WAITING = 256;

/** One open file of the depot. */
export interface PeerObject {
  readonly info: ObjectInfo;
  /** @throws StorageError corrupt when the file is another one by now. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): void;
}

/** What a peer may read. */
export interface PeerObjects {
  /** Opens a file for reading. @throws StorageError absent, transient */
  open(path: DepotPath): Promise<PeerObject>;
  /** Describes a file without bringing it here. @throws StorageError */
  head(path: DepotPath): Promise<ObjectInfo>;
  /** In byte order. */
  list(prefix: string, after: string): AsyncIterable<ListedObject>;
}

/** How a request ended, for metrics. */
export type PeerResult = "served" | "unchanged" | "absent" | "refused" | "limited" | "failed";

/** What the server works with. */
export interface PeerServerParts {
  readonly objects: PeerObjects;
  /** The token as it is now. @throws Error when it cannot be read. */
  readonly token: () => string;
  /** Whether a request that names its readers so is answered, see `peer_readers.ts`. */
  readonly admits: (readers: string | null) => boolean;
  readonly gate: RateGate;
  /** Longest wait at the gate, ms. */
  readonly waitMs: number;
  readonly onResult: (result: PeerResult, bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

const HEADERS: Readonly<Record<string, string>> = {
  [PEER_HEADER]: PEER_VERSION,
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
};

/** See the module. */
export class PeerServer {
  readonly #parts: PeerServerParts;
  readonly #memory = new PartBudget(MEMORY_BYTES);
  readonly #closing = new AbortController();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  /** @throws EnvironmentError when it cannot listen there. */
  constructor(
    address: ListenAddress & { readonly kind: "tcp" },
    certificate: { readonly cert: string; readonly key: string },
    parts: PeerServerParts,
  ) {
    this.#parts = parts;
    const { host: hostname, port } = address;
    try {
      const options = { hostname, port, ...certificate, onListen: () => {} };
      this.#server = Deno.serve(options, (request) => this.#answer(request));
    } catch (error) {
      throw new EnvironmentError(
        `Cannot serve peers on ${hostname}:${port}: ${reasonOf(error)}; choose another ` +
          "peer_listen, or correct peer_cert_path and peer_key_path",
      );
    }
  }

  get port(): number {
    return this.#server.addr.port;
  }

  /** Ends; answers under way are still given. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { onResult, onError } = this.#parts;
    try {
      // Before anything else: without the token nobody learns what there is.
      if (!this.#isAllowed(request)) {
        onResult("refused", 0);
        return new Response(null, { status: 401, headers: { "www-authenticate": "Bearer" } });
      }
      if (request.method !== "GET" && request.method !== "HEAD") {
        onResult("refused", 0);
        return refusal(405, "only GET and HEAD are allowed");
      }
      if (!this.#parts.admits(request.headers.get(READERS))) {
        onResult("refused", 0);
        return refusal(CIRCLE, "peers read from one another in a circle");
      }
      return await this.#serve(request);
    } catch (error) {
      const kind = error instanceof StorageError ? error.kind : "local";
      onResult(kind === "absent" ? "absent" : "failed", 0);
      if (kind === "absent") return refusal(404, "there is no such file");
      if (kind === "corrupt") return refusal(412, "the file is another version by now");
      onError(error);
      // What exactly is wrong here is not the peer's to know.
      return refusal(503, "the file cannot be read now", { "retry-after": "1" });
    }
  }

  #isAllowed(request: Request): boolean {
    const given = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    const digest = (text: string) => createHash("sha256").update(text).digest();
    return timingSafeEqual(digest(given), digest(this.#parts.token()));
  }

  async #serve(request: Request): Promise<Response> {
    const { onResult } = this.#parts;
    if (!await this.#isLetIn()) {
      onResult("limited", 0);
      return refusal(429, "too many requests", { "retry-after": "1" });
    }
    const url = new URL(request.url);
    if (url.pathname === LIST_PAGE) return await this.#list(parameter(url, "prefix"), url);
    if (url.pathname !== OBJECT_PAGE) return this.#refuse(400, "unknown page");
    const path = parameter(url, "path");
    const problem = path === null ? "no path" : pathProblem(path);
    if (problem !== null) return this.#refuse(400, problem);
    if (request.method === "HEAD") {
      const info = await this.#parts.objects.head(path as DepotPath);
      onResult("served", 0);
      return new Response(null, {
        headers: { ...headersOf(info), "content-length": `${info.size}` },
      });
    }
    return await this.#read(path as DepotPath, request.headers);
  }

  async #isLetIn(): Promise<boolean> {
    const { gate, waitMs } = this.#parts;
    if (gate.waiting >= MAX_WAITING || this.#memory.isWaiting) return false;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), waitMs);
    const ended = AbortSignal.any([late.signal, this.#closing.signal]);
    await gate.enter(1, true, ended);
    clearTimeout(timer);
    return !ended.aborted;
  }

  async #read(path: DepotPath, headers: Headers): Promise<Response> {
    const { objects, onResult } = this.#parts;
    const object = await objects.open(path);
    try {
      const { info } = object;
      const tag = uriEncode(info.etag, false);
      if (headers.get(UNLESS_TAG) === tag) {
        onResult("unchanged", 0);
        return new Response(null, { status: 304, headers: headersOf(info) });
      }
      const wanted = headers.get(IF_TAG);
      if (wanted !== null && wanted !== tag) throw new StorageError("corrupt", "another version");
      const range = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(headers.get("range") ?? "");
      if (range === null) return this.#refuse(400, "a Range is needed");
      const first = Number(range[1]), last = Math.min(Number(range[2]), info.size - 1);
      if (first >= info.size) return refusal(416, "the file ends before", headersOf(info));
      const length = last - first + 1;
      if (length > SLICE_BYTES) return this.#refuse(400, `at most ${SLICE_BYTES} bytes at once`);
      const bytes = await this.#held(length, () => object.read(first, length));
      onResult("served", length);
      const more = { "content-range": `bytes ${first}-${last}/${info.size}` };
      return new Response(bytes, { status: 206, headers: { ...headersOf(info), ...more } });
    } finally {
      object.close();
    }
  }

  /** Reads with room for the bytes; what the network still holds of an answer is not counted. */
  async #held<T>(bytes: number, read: () => Promise<T>): Promise<T> {
    const share = await this.#memory.take(bytes);
    try {
      return await read();
    } finally {
      this.#memory.give(share);
    }
  }

  async #list(prefix: string | null, url: URL): Promise<Response> {
    const after = parameter(url, "after") ?? "";
    let lines = "", count = 0, hasMore = false;
    for await (const object of this.#parts.objects.list(prefix ?? "", after)) {
      if (count === LIST_ENTRIES) {
        hasMore = true;
        break;
      }
      lines += listedLine(object);
      count++;
    }
    this.#parts.onResult("served", 0);
    return new Response(lines, { headers: { ...HEADERS, ...(hasMore ? { [MORE]: "1" } : {}) } });
  }

  #refuse(status: number, why: string): Response {
    this.#parts.onResult("refused", 0);
    return refusal(status, why);
  }
}

function headersOf(info: ObjectInfo): Record<string, string> {
  const metadata = metadataEntries(info, null).map(([name, value]) => [META + name, value]);
  return {
    ...HEADERS,
    ...Object.fromEntries(metadata),
    [TAG]: uriEncode(info.etag, false),
    ...(info.storedMs === undefined ? {} : { [STORED_MS]: String(info.storedMs) }),
  };
}

function refusal(status: number, why: string, headers: Record<string, string> = {}): Response {
  return new Response(`${why}\n`, { status, headers: { ...HEADERS, ...headers } });
}

/** A parameter's bytes, one character each; null when it is not there. */
function parameter(url: URL, name: string): string | null {
  // Not searchParams: it takes bytes for UTF-8.
  const found = new RegExp(`[?&]${name}=([^&]*)`).exec(url.search)?.[1];
  return found?.replace(
    /%([0-9A-Fa-f]{2})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 16)),
  ) ?? null;
}
