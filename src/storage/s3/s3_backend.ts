/**
 * Objects in an S3 bucket, or in one of a server that speaks S3's protocol.
 *
 * Integrity: every request is signed over the SHA-256 of its body (SigV4, `x-amz-content-sha256`),
 * which the server computes again from what arrived: an accepted put is the bytes that were hashed
 * when the file was read. A SHA-256 that the server reports is compared; AWS is asked to keep one
 * (not others: some refuse the header). An MD5 is not computed to compare it with the ETag: it would
 * cost more than all the rest of a small put, say less than the signature, and an ETag is no MD5
 * where keys of a KMS are used. Uploads in parts are looked at when joined. What is read is verified
 * against its digest by whoever restores it.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../../depot_path.ts";
import {
  type Backend,
  type Content,
  type CopySource,
  type ListedObject,
  nullIfAbsent,
  type ObjectInfo,
  type ObjectPart,
  type PutCondition,
  type RangeOptions,
  SLICE_BYTES,
  StorageError,
} from "../backend.ts";
import type { FileSink } from "../file_transfer.ts";
import { hex } from "../content_digest.ts";
import { partOf, partOfVersion, partUnless, rangeHeader, sizeOf } from "../http_range.ts";
import { listByPath } from "../key_listing.ts";
import { escapePath, isPlainKey, keyFromText, keyOfPath, storableKey } from "../object_keys.ts";
import { hashedBody } from "../operation.ts";
import { PartBudget } from "../part_budget.ts";
import { metadataEntries, type StoredMetadata } from "../stored_metadata.ts";
import { checkReported, checksumHeader, etagOf, infoOf, META } from "./s3_answers.ts";
import { COPY_LIMITS, copyObject } from "./s3_copy.ts";
import { listKeys } from "./s3_listing.ts";
import { putMultipart } from "./s3_multipart.ts";
import { abortUpload, listUploads, type UnfinishedUpload } from "./s3_orphans.ts";
import { S3History } from "./s3_history.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

/** How a backend uses its bucket. */
export interface S3BackendOptions {
  readonly bucket: string;
  /** Without slashes at its ends, or "". */
  readonly prefix: string;
  /** `x-amz-…` headers that go with every object that is stored. */
  readonly storingHeaders: readonly (readonly [string, string])[];
  /** Whether the server takes and keeps a SHA-256 of an object that is sent whole. */
  readonly keepsChecksums: boolean;
  /** Largest object that is sent whole. */
  readonly wholeBytes: number;
  /** Bytes of each part; whole slices. */
  readonly partBytes: number;
  /** Parts of all objects on their way at once. */
  readonly partsInFlight: number;
}

/** See the module. */
export class S3Backend implements Backend {
  readonly label: string;
  readonly #requests: S3Requests;
  readonly #options: S3BackendOptions;
  /** The prefix, one character per byte. */
  readonly #prefix: string;
  readonly memory: PartBudget;
  readonly #close: () => Promise<void>;

  /** @param close Frees what `requests` uses. */
  constructor(requests: S3Requests, options: S3BackendOptions, close: () => Promise<void>) {
    this.#requests = requests;
    this.#options = options;
    this.#prefix = keyFromText(options.prefix);
    this.#close = close;
    this.memory = new PartBudget(options.partBytes * options.partsInFlight);
    this.label = `s3://${options.bucket}${options.prefix === "" ? "" : "/" + options.prefix}`;
  }

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const doing = this.#doing("store", path);
    const key = this.#key(path, doing);
    const amzHeaders = this.#storedHeaders(path, content);
    if (content.size > this.#options.wholeBytes) {
      const upload = { requests: this.#requests, key, amzHeaders, condition, doing, signal };
      const etag = await putMultipart(upload, content, this.#options, this.memory);
      return { etag: await this.#checkJoined(path, etag, content, doing, signal) };
    }
    // Small ones are bounded by their number, and most.
    const share = content.size > SLICE_BYTES ? await this.memory.take(content.size) : 0;
    try {
      const { body, digest } = await hashedBody(content, 0, content.size, doing);
      if (this.#options.keepsChecksums) amzHeaders.push(checksumHeader(digest));
      const payloadDigest = hex(digest);
      const request = { key, amzHeaders, body, payloadDigest, condition, doing, signal };
      const answer = await this.#requests.send({ ...request, method: "PUT" });
      await answer.cancel();
      checkReported(answer, digest, doing);
      return { etag: etagOf(answer, doing) };
    } finally {
      if (share > 0) this.memory.give(share);
    }
  }

  async copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    elsewhere?: CopySource,
  ): Promise<{ etag: string }> {
    const doing = `copy ${displayPath(from)} to ${displayPath(to)} in ${this.label}`;
    const source = elsewhere?.info ?? await this.head(from, signal);
    const etag = await copyObject({
      requests: this.#requests,
      bucket: elsewhere?.bucket ?? this.#options.bucket,
      from: elsewhere === undefined
        ? this.#key(from, doing)
        : keyOfPath(keyFromText(elsewhere.prefix), from),
      to: this.#key(to, doing),
      source,
      limits: COPY_LIMITS,
      amzHeaders: this.#storedHeaders(to, source),
      doing,
      signal,
    });
    return { etag };
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): Promise<ObjectPart> {
    const { ifMatch, into, signal } = options;
    const doing = this.#doing("read", path);
    const condition: [string, string][] = ifMatch === undefined ? [] : [["if-match", ifMatch]];
    const part = await this.#read(path, offset, length, condition, doing, signal, into);
    return partOfVersion(part, ifMatch, doing);
  }

  async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart | null> {
    const doing = this.#doing("read", path);
    const part = await this.#read(path, 0, length, [["if-none-match", etag]], doing, signal);
    return partUnless(etag, part);
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
    return infoOf(answer, sizeOf(answer, doing), doing);
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    const doing = this.#doing("remove", path);
    const answer = await nullIfAbsent(this.#requests.send({
      method: "DELETE",
      key: this.#key(path, doing),
      payloadDigest: EMPTY_DIGEST,
      doing,
      signal,
    }));
    await answer?.cancel();
  }

  list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    const doing = `list ${this.label}`;
    return listByPath(
      (prefix, start) => listKeys(this.#requests, prefix, start, doing, signal),
      this.#prefix,
      prefix,
      after,
    );
  }

  /** Uploads below the prefix that were begun and never ended. */
  unfinishedUploads(signal: AbortSignal): AsyncIterable<UnfinishedUpload> {
    const under = this.#prefix === "" ? "" : this.#prefix + "/";
    return listUploads(this.#requests, under, `list unfinished uploads in ${this.label}`, signal);
  }

  /** Ends one of them. */
  async abortUpload(upload: UnfinishedUpload, signal: AbortSignal): Promise<void> {
    const doing = `abort the upload of ${displayPath(upload.key)} in ${this.label}`;
    await abortUpload(this.#requests, upload, doing, signal);
  }

  /** The versions that the bucket keeps; closed in this one's place. */
  history(): S3History {
    return new S3History(this.#requests, this.#prefix, this.label, () => this.close());
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #doing(verb: string, path: DepotPath): string {
    return `${verb} ${displayPath(path)} in ${this.label}`;
  }

  #key(path: DepotPath, doing: string): string {
    return storableKey(this.#prefix, path, "S3", doing);
  }

  #storedHeaders(path: DepotPath, stored: StoredMetadata): [string, string][] {
    const headers = metadataEntries(stored, isPlainKey(path) ? null : escapePath(path))
      .map(([name, value]): [string, string] => [META + name, value]);
    return [...headers, ...this.#options.storingHeaders as [string, string][]];
  }

  /** Reads a range; null when the server says that the object did not change. */
  async #read(
    path: DepotPath,
    offset: number,
    length: number,
    condition: [string, string][],
    doing: string,
    signal: AbortSignal,
    into?: FileSink,
  ): Promise<ObjectPart | null> {
    if (length === 0) return { info: await this.head(path, signal), bytes: new Uint8Array(0) };
    const answer = await this.#requests.send({
      method: "GET",
      into,
      key: this.#key(path, doing),
      headers: [rangeHeader(offset, length), ...condition],
      payloadDigest: EMPTY_DIGEST,
      doing,
      signal,
      expects: [304, 416],
    });
    return await partOf(answer, {
      offset,
      length,
      doing,
      infoOf,
      head: () => this.head(path, signal),
    });
  }

  async #checkJoined(
    path: DepotPath,
    etag: string,
    content: Content,
    doing: string,
    signal: AbortSignal,
  ): Promise<string> {
    const info = await this.head(path, signal);
    const isSame = info.size === content.size && info.digest === content.digest &&
      unquoted(info.etag) === unquoted(etag);
    if (isSame) return info.etag;
    throw new StorageError(
      "corrupt",
      `Cannot ${doing}: after joining it is ${info.etag} of ${info.size} bytes and digest ` +
        `${info.digest}, not ${etag} of ${content.size} and ${content.digest}`,
    );
  }
}

/** Some servers quote the tag in headers only. */
function unquoted(etag: string): string {
  return etag.replaceAll('"', "");
}
