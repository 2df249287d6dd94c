/**
 * Pages of an S3 bucket's listing (S3 API, ListObjectsV2).
 *
 * @module
 */

import { StorageError } from "../backend.ts";
import type { ListedKey } from "../key_listing.ts";
import { keyFromText } from "../object_keys.ts";
import { xmlElements, xmlRootIs, xmlText } from "../xml.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

/** All keys with the prefix after `start`. */
export async function* listKeys(
  requests: S3Requests,
  prefix: string,
  start: string,
  doing: string,
  signal: AbortSignal,
): AsyncIterable<ListedKey> {
  let query: Record<string, string> = { "list-type": "2", "encoding-type": "url", prefix };
  if (start !== "") query["start-after"] = start;
  for (;;) {
    const page = await listingPage(requests, "ListBucketResult", query, doing, signal);
    const encoded = xmlText(page, "EncodingType") === "url";
    for (const element of xmlElements(page, "Contents")) yield listedKey(element, encoded, doing);
    if (xmlText(page, "IsTruncated") !== "true") return;
    const token = xmlText(page, "NextContinuationToken");
    if (!token) throw new StorageError("corrupt", `Cannot ${doing}: a page does not name the next`);
    query = { ...query, "continuation-token": keyFromText(token) };
    delete query["start-after"];
  }
}

/**
 * One page of any listing of a bucket.
 * @param root Name of the XML element that it is.
 * @throws StorageError transient when it did not come whole
 */
export async function listingPage(
  requests: S3Requests,
  root: string,
  query: Readonly<Record<string, string>>,
  doing: string,
  signal: AbortSignal,
): Promise<string> {
  const request = { key: null, query, payloadDigest: EMPTY_DIGEST, doing, signal };
  const page = await (await requests.send({ ...request, method: "GET" })).text();
  if (xmlRootIs(page, root) && page.includes(`</${root}>`)) return page;
  throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
}

function listedKey(element: string, encoded: boolean, doing: string): ListedKey {
  const name = xmlText(element, "Key");
  const size = xmlText(element, "Size");
  if (name === null || size === null || !/^\d{1,15}$/.test(size)) {
    throw new StorageError("corrupt", `Cannot ${doing}: an entry has no key or no size`);
  }
  return {
    key: decodedKey(name, encoded),
    size: Number(size),
    etag: xmlText(element, "ETag") ?? "",
  };
}

/** The key as an answer names it, one character per byte. @param encoded With encoding-type=url. */
export function decodedKey(name: string, encoded: boolean): string {
  if (!encoded) return keyFromText(name);
  // Form encoding: a plus is a space.
  return keyFromText(name.replaceAll("+", " ")).replace(
    /%([0-9A-Fa-f]{2})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 16)),
  );
}
