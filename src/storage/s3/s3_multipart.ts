/**
 * Uploads of more than one slice: parts sent side by side, retried singly, aborted on failure.
 *
 * S3's limits ("Amazon S3 multipart upload limits"): 10,000 parts, each but the last at least 5 MiB.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type Content, type PutCondition, SLICE_BYTES, StorageError } from "../backend.ts";
import { hex } from "../content_digest.ts";
import type { PartBudget } from "../part_budget.ts";
import { hashedBody, persist, stopped } from "../operation.ts";
import { sideBySide } from "../side_by_side.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";
import { xmlEscape, xmlRootIs, xmlText } from "../xml.ts";

const MAX_PARTS = 10_000;
const ABORT_TIMEOUT_MS = 15_000;

/**
 * Bytes of each part but the last: as configured, or more where S3 would not allow as many parts.
 * @param wantedBytes Whole slices.
 */
export function partBytes(size: number, wantedBytes: number): number {
  const slices = Math.ceil(size / SLICE_BYTES);
  return Math.max(wantedBytes, Math.ceil(slices / MAX_PARTS) * SLICE_BYTES);
}

/** An upload in parts: where its object goes, and how it is stored. */
export interface PartedUpload {
  readonly requests: S3Requests;
  readonly key: string;
  /** Metadata and encryption, signed. */
  readonly amzHeaders: readonly (readonly [string, string])[];
  /** Bytes of the whole object. */
  readonly size: number;
  /** Holds when the parts are joined. */
  readonly condition?: PutCondition | undefined;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/**
 * Sends a part; returns its ETag.
 * @param index From 0.
 * @param signal Aborted when another part has failed.
 */
export type SendPart = (uploadId: string, index: number, signal: AbortSignal) => Promise<string>;

/**
 * Stores an object in `count` parts, `width` of them at a time; returns its ETag.
 * @throws StorageError when it is not stored; its parts are removed then, or the error says that they
 * could not be.
 */
export async function uploadInParts(
  upload: PartedUpload,
  count: number,
  width: number,
  send: SendPart,
): Promise<string> {
  const uploadId = await create(upload);
  try {
    const etags = await sendParts(upload, count, width, (i, signal) => send(uploadId, i, signal));
    return await complete(upload, uploadId, etags);
  } catch (error) {
    const left = await abort(upload, uploadId);
    if (left === null || !(error instanceof StorageError)) throw error;
    throw new StorageError(
      error.kind,
      `${error.message}; and its parts are left in the bucket (upload ${uploadId}): ${left.message}`,
      error.options,
    );
  }
}

/** Uploads the content in parts; returns the ETag. @throws StorageError as {@link uploadInParts} */
export function putMultipart(
  upload: Omit<PartedUpload, "size">,
  content: Content,
  parts: { readonly partBytes: number; readonly partsInFlight: number },
  budget: PartBudget,
): Promise<string> {
  const bytes = partBytes(content.size, parts.partBytes);
  const count = Math.ceil(content.size / bytes);
  return uploadInParts(
    { ...upload, size: content.size },
    count,
    parts.partsInFlight,
    async (uploadId, index, signal) => {
      const share = await budget.take(bytes);
      try {
        return await sendPart(upload, content, uploadId, index, bytes, signal);
      } finally {
        budget.give(share);
      }
    },
  );
}

async function create(upload: PartedUpload): Promise<string> {
  const answer = await upload.requests.send({
    method: "POST",
    key: upload.key,
    query: { uploads: "" },
    amzHeaders: upload.amzHeaders,
    payloadDigest: EMPTY_DIGEST,
    doing: upload.doing,
    signal: upload.signal,
  });
  const uploadId = xmlText(await answer.text(), "UploadId");
  if (uploadId !== null && uploadId !== "") return uploadId;
  throw new StorageError("corrupt", `Cannot ${upload.doing}: the answer names no UploadId`);
}

/** Sends all parts; returns only when none is on its way any more. */
async function sendParts(
  { doing, signal }: PartedUpload,
  count: number,
  width: number,
  send: (index: number, signal: AbortSignal) => Promise<string>,
): Promise<string[]> {
  const etags: string[] = new Array(count);
  await sideBySide(count, width, doing, signal, async (index, partSignal) => {
    etags[index] = await send(index, partSignal);
  });
  return etags;
}

async function sendPart(
  { requests, key, doing }: Omit<PartedUpload, "size">,
  content: Content,
  uploadId: string,
  index: number,
  size: number,
  signal: AbortSignal,
): Promise<string> {
  if (signal.aborted) throw stopped(doing, signal);
  const offset = index * size;
  const length = Math.min(size, content.size - offset);
  const { body, digest } = await hashedBody(content, offset, length, doing);
  const answer = await persist(requests, {
    method: "PUT",
    key,
    query: { partNumber: String(index + 1), uploadId },
    body,
    payloadDigest: hex(digest),
    doing,
    signal,
  });
  await answer.cancel();
  const etag = answer.headers.get("etag");
  if (etag !== null) return etag;
  throw new StorageError("corrupt", `Cannot ${doing}: part ${index + 1} was answered without ETag`);
}

async function complete(
  upload: PartedUpload,
  uploadId: string,
  etags: readonly string[],
): Promise<string> {
  const { doing } = upload;
  const parts = etags.map((etag, i) =>
    `<Part><PartNumber>${i + 1}</PartNumber><ETag>${xmlEscape(etag)}</ETag></Part>`
  );
  const body = Uint8Array.from(new TextEncoder().encode(
    `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${
      parts.join("")
    }</CompleteMultipartUpload>`,
  ));
  const answer = await upload.requests.send({
    method: "POST",
    key: upload.key,
    query: { uploadId },
    headers: [["content-type", "application/xml"]],
    body,
    payloadDigest: createHash("sha256").update(body).digest("hex"),
    condition: upload.condition,
    serverBytes: upload.size,
    doing,
    signal: upload.signal,
  });
  const text = await answer.text();
  const etag = xmlText(text, "ETag");
  // Joining parts takes long: the status is sent before, and can be 200 on an error (S3 API,
  // CompletePartedUpload).
  if (xmlRootIs(text, "CompleteMultipartUploadResult") && etag) return etag;
  throw new StorageError(
    "transient",
    `Cannot ${doing}: the parts were not joined: ${xmlText(text, "Code") ?? text.slice(0, 200)}`,
  );
}

/** Removes the parts, whatever has happened; says why it could not. */
async function abort(upload: PartedUpload, uploadId: string): Promise<StorageError | null> {
  try {
    const answer = await persist(upload.requests, {
      method: "DELETE",
      key: upload.key,
      query: { uploadId },
      payloadDigest: EMPTY_DIGEST,
      doing: upload.doing,
      // The caller's signal may be what ended the upload.
      signal: AbortSignal.timeout(ABORT_TIMEOUT_MS),
      expects: [404],
    });
    await answer.cancel();
    return null;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
}
