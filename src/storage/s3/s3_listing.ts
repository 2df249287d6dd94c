/**
 * Listing a bucket in the order of depot paths.
 *
 * S3 lists in the byte order of keys, which is that of the paths, but for those that are escaped
 * (`object_keys.ts`). These are rare: they are listed first, kept, and merged in.
 *
 * @module
 */

import { STATE_DIR } from "../../cache/depot_path.ts";
import { type ListedObject, StorageError } from "../backend.ts";
import { ESCAPED_DIR, escapePath, isPlainKey, keyFromText, pathOfKey } from "../object_keys.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";
import { xmlElements, xmlRootIs, xmlText } from "../xml.ts";

/**
 * Lists the objects whose path starts with `prefix` and comes after `after`.
 * @param keyPrefix The backend's prefix, one character per byte, without slashes at its ends.
 */
export async function* listObjects(
  requests: S3Requests,
  keyPrefix: string,
  prefix: string,
  after: string,
  doing: string,
  signal: AbortSignal,
): AsyncIterable<ListedObject> {
  const under = keyPrefix === "" ? "" : keyPrefix + "/";
  const wanted = ({ path }: ListedObject) => path.startsWith(prefix) && path > after;
  const escaped: ListedObject[] = [];
  for await (
    const entry of keys(requests, under + ESCAPED_DIR + escapePath(prefix), "", doing, signal)
  ) {
    const path = pathOfKey(keyPrefix, entry.key);
    if (path === null) continue;
    const object = { path, size: entry.size, etag: entry.etag };
    if (wanted(object)) escaped.push(object);
  }
  escaped.sort((a, b) => a.path < b.path ? -1 : 1);
  let next = 0;
  const start = after > prefix ? under + plainStart(after) : "";
  for await (const entry of keys(requests, under + plainStart(prefix), start, doing, signal)) {
    const path = pathOfKey(keyPrefix, entry.key);
    if (path === null || entry.key.startsWith(under + STATE_DIR + "/")) continue;
    const object = { path, size: entry.size, etag: entry.etag };
    if (!wanted(object)) continue;
    while (next < escaped.length && escaped[next]!.path < path) yield escaped[next++]!;
    yield object;
  }
  yield* escaped.slice(next);
}

/** The longest start of the path that can be asked for as it is. */
function plainStart(path: string): string {
  for (let length = path.length; length > 0; length--) {
    const start = path.slice(0, length);
    if (isPlainKey(start)) return start;
  }
  return "";
}

interface ListedKey {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

/** All keys with the prefix after `start`, page by page (S3 API, ListObjectsV2). */
async function* keys(
  requests: S3Requests,
  prefix: string,
  start: string,
  doing: string,
  signal: AbortSignal,
): AsyncIterable<ListedKey> {
  let query: Record<string, string> = { "list-type": "2", "encoding-type": "url", prefix };
  if (start !== "") query["start-after"] = start;
  for (;;) {
    const answer = await requests.send({
      method: "GET",
      key: null,
      query,
      payloadDigest: EMPTY_DIGEST,
      doing,
      signal,
    });
    const page = await answer.text();
    if (!xmlRootIs(page, "ListBucketResult") || !page.includes("</ListBucketResult>")) {
      throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
    }
    const encoded = xmlText(page, "EncodingType") === "url";
    for (const element of xmlElements(page, "Contents")) yield listedKey(element, encoded, doing);
    if (xmlText(page, "IsTruncated") !== "true") return;
    const token = xmlText(page, "NextContinuationToken");
    if (!token) throw new StorageError("corrupt", `Cannot ${doing}: a page does not name the next`);
    query = { ...query, "continuation-token": keyFromText(token) };
    delete query["start-after"];
  }
}

function listedKey(element: string, encoded: boolean, doing: string): ListedKey {
  const name = xmlText(element, "Key");
  const size = xmlText(element, "Size");
  if (name === null || size === null || !/^\d{1,15}$/.test(size)) {
    throw new StorageError("corrupt", `Cannot ${doing}: an entry has no key or no size`);
  }
  // Form encoding: a plus is a space.
  const bytes = keyFromText(encoded ? name.replaceAll("+", " ") : name);
  const key = encoded
    ? bytes.replace(
      /%([0-9A-Fa-f]{2})/g,
      (_, digits) => String.fromCharCode(parseInt(digits, 16)),
    )
    : bytes;
  return { key, size: Number(size), etag: xmlText(element, "ETag") ?? "" };
}
