/**
 * Uploads in parts that were begun and never ended: a crash leaves them, and their parts are paid for
 * until they are aborted. Nothing reads them, so that aborting one loses nothing but its own upload.
 *
 * MinIO lists such uploads only for the whole key of an object, and removes them by itself after a
 * day (MinIO, `api stale_uploads_expiry`).
 *
 * @module
 */

import { StorageError } from "../backend.ts";
import { xmlElements, xmlText } from "../xml.ts";
import { decodedKey, listingPage } from "./s3_listing.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

/** One such upload. */
export interface UnfinishedUpload {
  /** One character per byte. */
  readonly key: string;
  readonly uploadId: string;
  /** When it was begun, ms since the epoch. */
  readonly begunMs: number;
}

/** All of them with the prefix, page by page (S3 API, ListMultipartUploads). @throws StorageError */
export async function* listUploads(
  requests: S3Requests,
  prefix: string,
  doing: string,
  signal: AbortSignal,
): AsyncIterable<UnfinishedUpload> {
  let query: Record<string, string> = { uploads: "", "encoding-type": "url", prefix };
  for (;;) {
    const page = await listingPage(requests, "ListMultipartUploadsResult", query, doing, signal);
    const encoded = xmlText(page, "EncodingType") === "url";
    for (const element of xmlElements(page, "Upload")) yield uploadOf(element, encoded, doing);
    if (xmlText(page, "IsTruncated") !== "true") return;
    const key = xmlText(page, "NextKeyMarker"), id = xmlText(page, "NextUploadIdMarker");
    if (!key || !id) {
      throw new StorageError("corrupt", `Cannot ${doing}: a page does not name the next`);
    }
    query = { ...query, "key-marker": decodedKey(key, encoded), "upload-id-marker": id };
  }
}

/** Removes the upload's parts; one that is gone is no error. @throws StorageError */
export async function abortUpload(
  requests: S3Requests,
  { key, uploadId }: UnfinishedUpload,
  doing: string,
  signal: AbortSignal,
): Promise<void> {
  const answer = await requests.send({
    method: "DELETE",
    key,
    query: { uploadId },
    payloadDigest: EMPTY_DIGEST,
    doing,
    signal,
    expects: [404],
  });
  await answer.cancel();
}

function uploadOf(element: string, encoded: boolean, doing: string): UnfinishedUpload {
  const name = xmlText(element, "Key");
  const uploadId = xmlText(element, "UploadId");
  const begunMs = Date.parse(xmlText(element, "Initiated") ?? "");
  if (name === null || !uploadId || Number.isNaN(begunMs)) {
    throw new StorageError("corrupt", `Cannot ${doing}: an entry has no key, id or time`);
  }
  return { key: decodedKey(name, encoded), uploadId, begunMs };
}
