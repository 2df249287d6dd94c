/**
 * What Azure's answers say about a blob, and the headers that make them say it.
 *
 * Metadata names are C# identifiers ("Naming and referencing containers, blobs, and metadata").
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { rangeHeader } from "../http_range.ts";
import {
  metadataEntries,
  readMetadata,
  type StoredMetadata,
  storedTime,
} from "../stored_metadata.ts";

/**
 * The headers that store metadata.
 * @param name The path as people may read it, where the blob's name is not that.
 */
export function metadataHeaders(stored: StoredMetadata, name: string | null): [string, string][] {
  return metadataEntries(stored, name).map(([entry, value]) => [headerOf(entry), value]);
}

/** The blob's tag. @throws StorageError corrupt when there is none. */
export function etagOf(answer: HttpAnswer, doing: string): string {
  const etag = answer.headers.get("etag");
  if (etag !== null) return etag;
  // Every answer about a blob has one; a proxy's page has not.
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: HTTP ${answer.status} without ETag is not how Azure answers; check the ` +
      "endpoint",
  );
}

/**
 * The blob as the headers describe it.
 * @throws StorageError corrupt as {@link etagOf}; absent for a directory of an account with
 * hierarchical namespace, which answers like an empty blob.
 */
export function infoOf(answer: HttpAnswer, size: number, doing: string): ObjectInfo {
  const { headers } = answer;
  if (
    headers.get("x-ms-resource-type") === "directory" ||
    headers.get("x-ms-meta-hdi_isfolder") === "true"
  ) throw new StorageError("absent", `Cannot ${doing}: it is a directory`);
  const stored = readMetadata((name) => headers.get(headerOf(name)));
  // Of an answer with a range, Content-MD5 is the range's.
  const whole = headers.get("content-range") === null ? headers.get("content-md5") : null;
  const md5 = headers.get("x-ms-blob-content-md5") ?? whole;
  const etag = etagOf(answer, doing);
  return {
    size,
    etag,
    ...stored,
    ...storedTime(headers.get("last-modified")),
    ...(stored.digest !== null || md5 === null ? {} : { md5 }),
  };
}

function headerOf(name: string): string {
  return "x-ms-meta-p4cache_" + name.replaceAll("-", "_");
}

/** The header that asks for a range; the service prefers it to `range`. */
export function msRange(offset: number, length: number): [string, string] {
  return ["x-ms-range", rangeHeader(offset, length)[1]];
}
