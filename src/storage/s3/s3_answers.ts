/**
 * What S3's answers say about an object.
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { readMetadata, storedTime } from "../stored_metadata.ts";

/** What the names of our metadata begin with, as headers. */
export const META = "x-amz-meta-p4cache-";

/** Not deno-std's: it detaches the memory of a digest that node:crypto made. */
function base64(digest: Uint8Array): string {
  return btoa(String.fromCharCode(...digest));
}

const CHECKSUM = "x-amz-checksum-sha256";

/** The header that has the server check and keep the SHA-256 of an object. */
export function checksumHeader(digest: Uint8Array): [string, string] {
  return [CHECKSUM, base64(digest)];
}

/** Compares a SHA-256 that the server reports with what was sent. @throws StorageError corrupt */
export function checkReported(answer: HttpAnswer, digest: Uint8Array, doing: string): void {
  const reported = answer.headers.get(CHECKSUM);
  if (reported === null || reported === base64(digest)) return;
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: the server has SHA-256 ${reported}, what was sent ${base64(digest)}`,
  );
}

/** The object's tag. @throws StorageError corrupt when there is none. */
export function etagOf(answer: HttpAnswer, doing: string): string {
  const etag = answer.headers.get("etag");
  if (etag !== null) return etag;
  // Every S3 answer about an object has one; a proxy's page has not.
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: HTTP ${answer.status} without ETag is not how S3 answers; check the endpoint`,
  );
}

/** The object as the headers describe it. @throws StorageError corrupt as {@link etagOf} */
export function infoOf(answer: HttpAnswer, size: number, doing: string): ObjectInfo {
  const etag = etagOf(answer, doing);
  const stored = readMetadata((name) => answer.headers.get(META + name));
  // What was stored whole, without a KMS key, has the MD5 of its bytes as its tag ("Object", S3 API).
  const digits = stored.digest === null ? /^"([0-9a-f]{32})"$/.exec(etag)?.[1] : undefined;
  return {
    size,
    etag,
    ...stored,
    ...storedTime(answer.headers.get("last-modified")),
    ...(digits === undefined ? {} : { md5: base64(bytesOf(digits)) }),
  };
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/../g)!, (pair) => parseInt(pair, 16));
}
