/**
 * What S3's answers say about an object: its metadata, and which of its bytes they hold.
 *
 * @module
 */

import { type Content, type ObjectInfo, StorageError } from "../backend.ts";
import type { S3Answer } from "./s3_requests.ts";

const META = "x-amz-meta-p4cache-";

/** What is stored with an object, as far as it is known. */
export type StoredMetadata = Pick<ObjectInfo, "digest" | "mode" | "mtimeNs">;

/** The headers that store it. @param name The path as people may read it, where the key is not that. */
export function metadataHeaders(
  { digest, mode, mtimeNs }: StoredMetadata | Content,
  name: string | null,
): [string, string][] {
  const headers: [string, string][] = [];
  if (digest !== null) headers.push([META + "digest", digest]);
  if (mode !== null) headers.push([META + "mode", "0" + (mode & 0o7777).toString(8)]);
  if (mtimeNs !== null) headers.push([META + "mtime-ns", mtimeNs.toString()]);
  if (name !== null) headers.push([META + "name", name]);
  return headers;
}

/** The error of an object that is not the version that was asked for. */
export function changed(doing: string): StorageError {
  return new StorageError("corrupt", `Cannot ${doing}: it changed while it was read`);
}

/** The object's tag. @throws StorageError corrupt when there is none. */
export function etagOf(answer: S3Answer, doing: string): string {
  const etag = answer.headers.get("etag");
  if (etag !== null) return etag;
  // Every S3 answer about an object has one; a proxy's page has not.
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: HTTP ${answer.status} without ETag is not how S3 answers; check the endpoint`,
  );
}

/** The object as the headers describe it. @throws StorageError corrupt as {@link etagOf} */
export function infoOf(answer: S3Answer, size: number, doing: string): ObjectInfo {
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

/**
 * What the answer to a range request holds, checked against what was asked.
 * @throws StorageError
 */
export function rangeOf(
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
