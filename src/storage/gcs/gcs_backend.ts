/**
 * Objects in a Google Cloud Storage bucket.
 *
 * Lean requests instead of `@google-cloud/storage`: see docs/dependencies.md for the figures. An
 * accepted put is the bytes that were hashed when the file was read (`gcs_upload.ts`). Conditions are
 * kept by the server, by generation.
 *
 * @module
 */

import { createHash } from "node:crypto";
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
  StorageError,
} from "../backend.ts";
import type { FileSink } from "../file_transfer.ts";
import { partOf, partOfVersion, partUnless, rangeHeader } from "../http_range.ts";
import { listByPath } from "../key_listing.ts";
import { escapePath, isPlainKey, keyFromText, keyOfPath, storableKey } from "../object_keys.ts";
import { PartBudget } from "../part_budget.ts";
import { metadataEntries, type StoredMetadata } from "../stored_metadata.ts";
import { copyObject } from "./gcs_copy.ts";
import { UnclearAbsence } from "./gcs_errors.ts";
import { listKeys } from "./gcs_listing.ts";
import {
  infoOfHeaders,
  infoOfResource,
  isGeneration,
  md5OfHeaders,
  META,
  parseResource,
  RESOURCE_FIELDS,
} from "./gcs_objects.ts";
import { GcsHistory } from "./gcs_history.ts";
import type { GcsRequests } from "./gcs_requests.ts";
import { putObject, type UploadSizes } from "./gcs_upload.ts";

/** How a backend uses its bucket. */
export interface GcsBackendOptions extends UploadSizes {
  readonly bucket: string;
  /** Without slashes at its ends, or "". */
  readonly prefix: string;
  /** Null: the bucket's own. */
  readonly storageClass: string | null;
  /** Full name of a Cloud KMS key; null: the bucket's own encryption. */
  readonly kmsKey: string | null;
  /** Chunks that are held in memory at once. */
  readonly chunksInFlight: number;
}

/** See the module. */
export class GcsBackend implements Backend {
  readonly label: string;
  readonly #requests: GcsRequests;
  readonly #options: GcsBackendOptions;
  /** The prefix, one character per byte. */
  readonly #prefix: string;
  readonly memory: PartBudget;
  readonly #close: () => Promise<void>;

  /** @param close Frees what `requests` uses. */
  constructor(requests: GcsRequests, options: GcsBackendOptions, close: () => Promise<void>) {
    this.#requests = requests;
    this.#options = options;
    this.#prefix = keyFromText(options.prefix);
    this.memory = new PartBudget(options.chunkBytes * options.chunksInFlight);
    this.#close = close;
    this.label = `gs://${options.bucket}${options.prefix === "" ? "" : "/" + options.prefix}`;
  }

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const doing = this.#doing("store", path);
    const { kmsKey } = this.#options;
    const etag = await putObject({
      requests: this.#requests,
      budget: this.memory,
      sizes: this.#options,
      name: nameOfKey(this.#key(path, doing)),
      resource: this.#resource(path, content),
      query: kmsKey === null ? {} : { kmsKeyName: keyFromText(kmsKey) },
      condition,
      content,
      doing,
      signal,
    });
    return { etag };
  }

  async copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    elsewhere?: CopySource,
  ): Promise<{ etag: string }> {
    const doing = `copy ${displayPath(from)} to ${displayPath(to)} in ${this.label}`;
    const { kmsKey } = this.#options;
    const source = elsewhere?.info ?? await this.head(from, signal);
    const etag = await copyObject({
      requests: this.#requests,
      bucket: elsewhere?.bucket ?? null,
      from: elsewhere === undefined
        ? this.#key(from, doing)
        : keyOfPath(keyFromText(elsewhere.prefix), from),
      to: this.#key(to, doing),
      source,
      resource: this.#resource(to, source),
      query: kmsKey === null ? {} : { destinationKmsKeyName: keyFromText(kmsKey) },
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
    const condition: [string, string][] = ifMatch !== undefined && isGeneration(ifMatch)
      ? [["x-goog-if-generation-match", ifMatch]]
      : [];
    const part = await this.#read(path, offset, length, condition, doing, signal, into);
    return partOfVersion(part, ifMatch, doing);
  }

  async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart | null> {
    // By the JSON API: the XML API knows no such condition by generation.
    const unlike: Record<string, string> = isGeneration(etag) ? { ifGenerationNotMatch: etag } : {};
    const info = await this.#describe(path, unlike, signal);
    if (info === null || info.etag === etag) return null;
    const doing = this.#doing("read", path);
    const part = await this.#read(path, 0, length, [], doing, signal);
    return partUnless(etag, part);
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    const info = await this.#describe(path, {}, signal);
    if (info !== null) return info;
    throw new StorageError(
      "transient",
      `Cannot ${this.#doing("read", path)}: HTTP 304 without a condition`,
    );
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    const doing = this.#doing("remove", path);
    const key = this.#key(path, doing);
    const request = {
      method: "DELETE",
      path: this.#requests.paths.object(key),
      permission: "storage.objects.delete",
      doing,
      signal,
    } as const;
    const answer = await nullIfAbsent(
      this.#unlessAbsent(key, doing, signal, () => this.#requests.send(request)),
    );
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

  /** The versions that the bucket keeps; closed in this one's place. */
  history(): GcsHistory {
    return new GcsHistory(this.#requests, this.#prefix, this.label, () => this.close());
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #doing(verb: string, path: DepotPath): string {
    return `${verb} ${displayPath(path)} in ${this.label}`;
  }

  #key(path: DepotPath, doing: string): string {
    return storableKey(this.#prefix, path, "Cloud Storage", doing);
  }

  /** The resource of an object to store. */
  #resource(path: DepotPath, stored: StoredMetadata): Record<string, unknown> {
    const { storageClass } = this.#options;
    const entries = metadataEntries(stored, isPlainKey(path) ? null : escapePath(path));
    return {
      contentType: "application/octet-stream",
      // Nobody on the way may give other bytes than these.
      cacheControl: "no-transform",
      metadata: Object.fromEntries(entries.map(([name, value]) => [META + name, value])),
      ...(storageClass === null ? {} : { storageClass }),
    };
  }

  /** Describes the object; null where it does not meet a condition in the query. */
  async #describe(
    path: DepotPath,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<ObjectInfo | null> {
    const doing = this.#doing("read", path);
    const key = this.#key(path, doing);
    return await this.#unlessAbsent(key, doing, signal, async () => {
      const answer = await this.#requests.send({
        method: "GET",
        path: this.#requests.paths.object(key),
        query: { ...query, fields: RESOURCE_FIELDS },
        permission: "storage.objects.get",
        doing,
        signal,
        expects: [304],
      });
      const text = await answer.text();
      return answer.status === 304 ? null : infoOfResource(parseResource(text, doing), doing);
    });
  }

  /** Reads a range of the object as it is now, or as the condition says. */
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
    const key = this.#key(path, doing);
    const answer = await this.#unlessAbsent(key, doing, signal, () =>
      this.#requests.send({
        method: "GET",
        into,
        path: this.#requests.paths.media(key),
        headers: [rangeHeader(offset, length), ...condition],
        permission: "storage.objects.get",
        doing,
        signal,
        expects: [416],
      }));
    const part = await partOf(answer, {
      offset,
      length,
      doing,
      infoOf: infoOfHeaders,
      head: () => this.head(path, signal),
    });
    if (part !== null && part.info.digest === null && part.bytes.length === part.info.size) {
      checkMd5(part.bytes, md5OfHeaders(answer.headers), doing);
    }
    return part;
  }

  /**
   * Runs a request about an object. Where the answer does not say what is missing, the bucket's
   * listing does (promise P3).
   */
  async #unlessAbsent<T>(
    key: string,
    doing: string,
    signal: AbortSignal,
    call: () => Promise<T>,
  ): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof UnclearAbsence)) throw error;
      // The key itself is the first with itself as its prefix.
      for await (const listed of listKeys(this.#requests, key, "", doing, signal, "1")) {
        if (listed.key === key) throw error;
        break;
      }
      throw new StorageError("absent", error.message, { cause: error });
    }
  }
}

/** The key as text; keys are UTF-8 (`object_keys.ts`). */
function nameOfKey(key: string): string {
  return new TextDecoder().decode(Uint8Array.from(key, (byte) => byte.charCodeAt(0)));
}

/** Others' objects carry no digest of ours: what Cloud Storage knows is all there is to compare. */
function checkMd5(bytes: Uint8Array, md5: string | null, doing: string): void {
  if (md5 === null || createHash("md5").update(bytes).digest("base64") === md5) return;
  throw new StorageError("corrupt", `Cannot ${doing}: its bytes have not the MD5 ${md5}`);
}
