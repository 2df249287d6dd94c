/**
 * Objects in a container of Azure Blob Storage, as block blobs.
 *
 * The body of every put is sent with its MD5, which the service compares with what arrived; uploads in
 * blocks are in addition looked at when committed.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../../depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  nullIfAbsent,
  type ObjectInfo,
  type ObjectPart,
  type PutCondition,
  type RangeOptions,
  StorageError,
} from "../backend.ts";
import type { FileSink } from "../file_transfer.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { partOf, partOfVersion, partUnless, sizeOf } from "../http_range.ts";
import { readContent } from "../operation.ts";
import { keyFromText } from "../object_keys.ts";
import { PartBudget } from "../part_budget.ts";
import type { StoredMetadata } from "../stored_metadata.ts";
import { etagOf, infoOf, metadataHeaders, msRange } from "./azure_answers.ts";
import { putBlocks } from "./azure_blocks.ts";
import { copyBlob } from "./azure_copy.ts";
import { AzureListing } from "./azure_listing.ts";
import { md5 } from "./azure_md5.ts";
import { escapeName, isPlainName, MAX_NAME_CHARACTERS, nameOfPath } from "./azure_names.ts";
import { AzureHistory } from "./azure_history.ts";
import type { AzureRequests } from "./azure_requests.ts";

/** How a backend uses its container. */
export interface AzureBackendOptions {
  readonly account: string;
  readonly container: string;
  /** Without slashes at its ends, or "". */
  readonly prefix: string;
  /** Tier of stored blobs, lower case; null: the account's own. */
  readonly accessTier: string | null;
  /** Larger objects are stored in blocks. */
  readonly wholeBytes: number;
  /** Bytes of a block, a multiple of a slice. */
  readonly blockBytes: number;
  /** Blocks of all uploads that are in memory at once. */
  readonly blocksInFlight: number;
}

/** See the module. */
export class AzureBackend implements Backend {
  readonly label: string;
  readonly #requests: AzureRequests;
  readonly #options: AzureBackendOptions;
  /** The prefix, one character per byte. */
  readonly #prefix: string;
  readonly #listing: AzureListing;
  readonly memory: PartBudget;
  readonly #close: () => Promise<void>;

  /** @param close Frees what `requests` uses. */
  constructor(
    requests: AzureRequests,
    options: AzureBackendOptions,
    close: () => Promise<void>,
  ) {
    const { account, container, prefix } = options;
    this.label = `azure://${account}/${container}${prefix === "" ? "" : "/" + prefix}`;
    this.#requests = requests;
    this.#options = options;
    this.memory = new PartBudget(options.blockBytes * options.blocksInFlight);
    this.#prefix = keyFromText(prefix);
    this.#listing = new AzureListing(requests, this.#prefix, `list ${this.label}`);
    this.#close = close;
  }

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const doing = this.#doing("store", path);
    const blob = this.#name(path, doing);
    const headers = this.#storedHeaders(path, content);
    if (content.size > this.#options.wholeBytes) {
      const etag = await putBlocks({
        requests: this.#requests,
        budget: this.memory,
        blockBytes: this.#options.blockBytes,
        width: this.#options.blocksInFlight,
        blob,
        headers,
        content,
        condition,
        doing,
        signal,
      });
      await this.#checkCommitted(path, content, etag, doing, signal);
      return { etag };
    }
    const body = await readContent(content, 0, content.size, doing);
    const checksum = await md5(body);
    headers.push(["x-ms-blob-type", "BlockBlob"], ["content-md5", checksum]);
    const answer = await this.#requests.send({
      method: "PUT",
      blob,
      headers,
      body,
      condition,
      doing,
      signal,
    });
    await answer.cancel();
    const stored = answer.headers.get("content-md5");
    if (stored === null || stored === checksum) return { etag: etagOf(answer, doing) };
    throw new StorageError(
      "corrupt",
      `Cannot ${doing}: the service stored MD5 ${stored}, not ${checksum}`,
    );
  }

  async copy(from: DepotPath, to: DepotPath, signal: AbortSignal): Promise<{ etag: string }> {
    const doing = `copy ${displayPath(from)} to ${displayPath(to)} in ${this.label}`;
    const source = await this.head(from, signal);
    const etag = await copyBlob({
      requests: this.#requests,
      from: this.#name(from, doing),
      to: this.#name(to, doing),
      etag: source.etag,
      headers: this.#storedHeaders(to, source),
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
    const blob = this.#name(path, doing);
    const answer = await this.#requests.send({ method: "HEAD", blob, doing, signal });
    await answer.cancel();
    return infoOf(answer, sizeOf(answer, doing), doing);
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    const doing = this.#doing("remove", path);
    const blob = this.#name(path, doing);
    const answer = await nullIfAbsent(
      this.#requests.send({ method: "DELETE", blob, doing, signal }),
    );
    await answer?.cancel();
  }

  list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    return this.#listing.list(prefix, after, signal);
  }

  /** The versions that the container keeps; closed in this one's place. */
  history(): AzureHistory {
    return new AzureHistory(this.#requests, this.#prefix, this.label, () => this.close());
  }

  async close(): Promise<void> {
    await this.#close();
  }

  #doing(verb: string, path: DepotPath): string {
    return `${verb} ${displayPath(path)} in ${this.label}`;
  }

  #name(path: DepotPath, doing: string): string {
    const name = nameOfPath(this.#prefix, path);
    if (name.length <= MAX_NAME_CHARACTERS) return name;
    // Azure counts characters, and names here have one for each byte.
    const characters = name.replace(/[\x80-\xbf]/g, "").length;
    if (characters <= MAX_NAME_CHARACTERS) return name;
    throw new StorageError(
      "permanent",
      `Cannot ${doing}: its name has ${characters} characters; Azure allows ${MAX_NAME_CHARACTERS}`,
    );
  }

  #storedHeaders(path: DepotPath, stored: StoredMetadata): [string, string][] {
    const headers = metadataHeaders(stored, isPlainName(path) ? null : escapeName(path));
    const tier = this.#options.accessTier;
    // As the service writes it: Cool.
    if (tier !== null) headers.push(["x-ms-access-tier", tier[0]!.toUpperCase() + tier.slice(1)]);
    return headers;
  }

  /** Reads a range; null when the service says that the blob did not change. */
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
      blob: this.#name(path, doing),
      headers: [msRange(offset, length), ...condition],
      doing,
      signal,
      expects: [304, 416],
    });
    const part = await partOf(answer, {
      offset,
      length,
      doing,
      infoOf,
      head: () => this.head(path, signal),
    });
    if (part !== null && part.info.digest === null && part.bytes.length === part.info.size) {
      await checkMd5(answer, part.bytes, doing);
    }
    return part;
  }

  async #checkCommitted(
    path: DepotPath,
    content: Content,
    etag: string,
    doing: string,
    signal: AbortSignal,
  ): Promise<void> {
    const info = await this.head(path, signal);
    if (info.etag !== etag) {
      throw new StorageError("transient", `Cannot ${doing}: it was replaced at once`);
    }
    if (info.size === content.size && info.digest === content.digest) return;
    throw new StorageError(
      "corrupt",
      `Cannot ${doing}: after committing it has ${info.size} bytes and digest ${info.digest}, not ` +
        `${content.size} and ${content.digest}`,
    );
  }
}

/** A blob that others have written carries no digest of ours, but mostly its MD5. */
async function checkMd5(answer: HttpAnswer, bytes: Uint8Array, doing: string): Promise<void> {
  const stored = answer.headers.get("x-ms-blob-content-md5") ?? answer.headers.get("content-md5");
  if (stored === null || stored === "" || stored === await md5(bytes)) return;
  throw new StorageError("corrupt", `Cannot ${doing}: its content has not the MD5 ${stored}`);
}
