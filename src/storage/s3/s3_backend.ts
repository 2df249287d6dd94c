/**
 * Objects in an S3 bucket, or in one of a server that speaks S3's protocol.
 *
 * Every request is signed over the SHA-256 of its body (SigV4, `x-amz-content-sha256`), which the
 * server computes again from what arrived: an accepted put is the bytes that were hashed when the
 * file was read. MD5 ETags are therefore not computed. Uploads in parts are in addition looked at
 * when joined.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../../cache/depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type ObjectInfo,
  SLICE_BYTES,
  StorageError,
} from "../backend.ts";
import { hex } from "../content_digest.ts";
import { readContent } from "../operation.ts";
import { escapePath, isPlainKey, keyFromText, keyOfPath, MAX_KEY_BYTES } from "./s3_keys.ts";
import { listObjects } from "./s3_listing.ts";
import { PartBudget, putMultipart } from "./s3_multipart.ts";
import type { S3Answer, S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

const META = "x-amz-meta-p4cache-";

/** How a backend uses its bucket. */
export interface S3BackendOptions {
  readonly bucket: string;
  /** Without slashes at its ends, or "". */
  readonly prefix: string;
  readonly serverSideEncryption: boolean;
}

/** See the module. */
export class S3Backend implements Backend {
  readonly label: string;
  readonly #requests: S3Requests;
  readonly #options: S3BackendOptions;
  /** The prefix, one character per byte. */
  readonly #prefix: string;
  readonly #budget = new PartBudget();
  readonly #close: () => Promise<void>;

  /** @param close Frees what `requests` uses. */
  constructor(requests: S3Requests, options: S3BackendOptions, close: () => Promise<void>) {
    this.#requests = requests;
    this.#options = options;
    this.#prefix = keyFromText(options.prefix);
    this.#close = close;
    this.label = `s3://${options.bucket}${options.prefix === "" ? "" : "/" + options.prefix}`;
  }

  async put(path: DepotPath, content: Content, signal: AbortSignal): Promise<{ etag: string }> {
    const doing = this.#doing("store", path);
    const key = this.#key(path, doing);
    const amzHeaders = this.#storedHeaders(path, content);
    if (content.size > SLICE_BYTES) {
      await putMultipart({
        requests: this.#requests,
        budget: this.#budget,
        key,
        amzHeaders,
        content,
        doing,
        signal,
      });
      return { etag: await this.#checkJoined(path, content, doing, signal) };
    }
    const body = await readContent(content, 0, content.size, doing);
    const answer = await this.#requests.send({
      method: "PUT",
      key,
      amzHeaders,
      body,
      payloadDigest: hex(content.sliceDigests[0]!),
      doing,
      signal,
    });
    await answer.cancel();
    return { etag: etagOf(answer, doing) };
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: { ifMatch?: string; signal: AbortSignal },
  ): Promise<{ info: ObjectInfo; bytes: Uint8Array<ArrayBuffer> }> {
    const { ifMatch, signal } = options;
    const doing = this.#doing("read", path);
    if (length === 0) {
      return { info: await this.#headMatching(path, ifMatch, signal), bytes: none() };
    }
    const headers: [string, string][] = [["range", `bytes=${offset}-${offset + length - 1}`]];
    if (ifMatch !== undefined) headers.push(["if-match", ifMatch]);
    const answer = await this.#requests.send({
      method: "GET",
      key: this.#key(path, doing),
      headers,
      payloadDigest: EMPTY_DIGEST,
      doing,
      signal,
      expects: 416,
    });
    if (answer.status === 416) {
      await answer.cancel();
      const info = await this.#headMatching(path, ifMatch, signal);
      if (info.size <= offset) return { info, bytes: none() };
      throw new StorageError("corrupt", `Cannot ${doing}: the range was refused below its size`);
    }
    let info: ObjectInfo, count: number;
    try {
      ({ info, count } = rangeOf(answer, offset, length, doing));
      if (ifMatch !== undefined && info.etag !== ifMatch) throw changed(doing);
    } catch (error) {
      await answer.cancel();
      throw error;
    }
    return { info, bytes: await answer.bytes(count) };
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    const doing = this.#doing("read", path);
    const key = this.#key(path, doing);
    const request = { key, payloadDigest: EMPTY_DIGEST, doing, signal } as const;
    const answer = await this.#requests.send({ ...request, method: "HEAD" }).catch(
      // A HEAD is refused without a word why; a GET says whether it is the object that is missing or
      // the bucket. 5xx and a broken network need no such question.
      async (error: StorageError) => {
        if (error.kind === "transient" || error.kind === "throttled") throw error;
        const get = await this.#requests.send({ ...request, method: "GET" });
        await get.cancel();
        return get;
      },
    );
    await answer.cancel();
    const size = answer.number("content-length");
    if (size === null) throw new StorageError("corrupt", `Cannot ${doing}: no Content-Length`);
    return infoOf(answer, size, doing);
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    const doing = this.#doing("remove", path);
    try {
      const answer = await this.#requests.send({
        method: "DELETE",
        key: this.#key(path, doing),
        payloadDigest: EMPTY_DIGEST,
        doing,
        signal,
      });
      await answer.cancel();
    } catch (error) {
      if (!(error instanceof StorageError && error.kind === "absent")) throw error;
    }
  }

  list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    const doing = `list ${this.label}`;
    return listObjects(this.#requests, this.#prefix, prefix, after, doing, signal);
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #doing(verb: string, path: DepotPath): string {
    return `${verb} ${displayPath(path)} in ${this.label}`;
  }

  #key(path: DepotPath, doing: string): string {
    const key = keyOfPath(this.#prefix, path);
    if (key.length <= MAX_KEY_BYTES) return key;
    throw new StorageError(
      "permanent",
      `Cannot ${doing}: its key has ${key.length} bytes; S3 allows ${MAX_KEY_BYTES}`,
    );
  }

  #storedHeaders(path: DepotPath, content: Content): [string, string][] {
    const headers: [string, string][] = [
      [META + "digest", content.digest],
      [META + "mode", "0" + (content.mode & 0o7777).toString(8)],
      [META + "mtime-ns", content.mtimeNs.toString()],
    ];
    if (!isPlainKey(path)) headers.push([META + "name", escapePath(path)]);
    if (this.#options.serverSideEncryption) {
      headers.push(["x-amz-server-side-encryption", "AES256"]);
    }
    return headers;
  }

  async #headMatching(
    path: DepotPath,
    ifMatch: string | undefined,
    signal: AbortSignal,
  ): Promise<ObjectInfo> {
    const info = await this.head(path, signal);
    if (ifMatch === undefined || info.etag === ifMatch) return info;
    throw changed(this.#doing("read", path));
  }

  async #checkJoined(
    path: DepotPath,
    content: Content,
    doing: string,
    signal: AbortSignal,
  ): Promise<string> {
    const info = await this.head(path, signal);
    if (info.size === content.size && info.digest === content.digest) return info.etag;
    throw new StorageError(
      "corrupt",
      `Cannot ${doing}: after joining it has ${info.size} bytes and digest ${info.digest}, not ` +
        `${content.size} and ${content.digest}`,
    );
  }
}

function none(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(0);
}

function changed(doing: string): StorageError {
  return new StorageError("corrupt", `Cannot ${doing}: it changed while it was read`);
}

function etagOf(answer: S3Answer, doing: string): string {
  const etag = answer.headers.get("etag");
  if (etag !== null) return etag;
  // Every S3 answer about an object has one; a proxy's page has not.
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: HTTP ${answer.status} without ETag is not how S3 answers; check the endpoint`,
  );
}

function infoOf(answer: S3Answer, size: number, doing: string): ObjectInfo {
  const mtime = answer.headers.get(META + "mtime-ns");
  const mode = answer.headers.get(META + "mode");
  return {
    size,
    etag: etagOf(answer, doing),
    mtimeNs: mtime !== null && /^-?\d{1,19}$/.test(mtime) ? BigInt(mtime) : null,
    mode: mode !== null && /^[0-7]{1,5}$/.test(mode) ? parseInt(mode, 8) & 0o7777 : null,
    digest: answer.headers.get(META + "digest"),
  };
}

/** What the answer to a range request holds, checked against what was asked. */
function rangeOf(
  answer: S3Answer,
  offset: number,
  length: number,
  doing: string,
): { info: ObjectInfo; count: number } {
  const sent = answer.number("content-length");
  if (answer.status === 200) {
    if (sent === null) throw new StorageError("corrupt", `Cannot ${doing}: no Content-Length`);
    const info = infoOf(answer, sent, doing);
    if (offset === 0 && sent <= length) return { info, count: sent };
    throw new StorageError("permanent", `Cannot ${doing}: the server does not honour Range`);
  }
  const range = answer.headers.get("content-range") ?? "";
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(range);
  const [first, last, size] = (match?.slice(1) ?? []).map(Number);
  const count = Math.min(length, (size ?? 0) - offset);
  if (
    size !== undefined && first === offset && last === offset + count - 1 &&
    (sent === null || sent === count)
  ) {
    return { info: infoOf(answer, size, doing), count };
  }
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: asked for ${length} bytes at ${offset}, was answered HTTP ${answer.status} ` +
      `with Content-Range "${range}" and ${sent ?? "unknown"} bytes`,
  );
}
