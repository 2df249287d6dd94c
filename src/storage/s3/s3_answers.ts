/**
 * What S3's answers say about an object.
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { readMetadata } from "../stored_metadata.ts";

/** What the names of our metadata begin with, as headers. */
export const META = "x-amz-meta-p4cache-";

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
  return {
    size,
    etag: etagOf(answer, doing),
    ...readMetadata((name) => answer.headers.get(META + name)),
  };
}
