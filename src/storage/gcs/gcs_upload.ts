/**
 * Storing objects: small ones in one request, large ones in chunks of a resumable upload.
 *
 * The MD5 of the bytes is sent, so that Cloud Storage refuses others, and compared with what it
 * reports. In a resumable upload nothing is visible before the last chunk is accepted; a session that
 * is left over costs nothing and ends by itself after a week ("Resumable uploads").
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import { setImmediate } from "node:timers";
import { type Backoff, backoffMs, pause } from "../backoff.ts";
import { type Content, type PutCondition, SLICE_BYTES, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { keyFromText } from "../object_keys.ts";
import { readContent, stopped } from "../operation.ts";
import type { PartBudget } from "../part_budget.ts";
import { isGeneration, type ObjectResource, parseResource } from "./gcs_objects.ts";
import { type GcsRequests, jsonBody } from "./gcs_requests.ts";

/** Bodies from here on are counted in the budget. */
const COUNTED_BYTES = 256 * 1024;

/** Hashed in one turn of the event loop, about a millisecond's worth. */
const HASH_STEP_BYTES = 512 * 1024;

const ATTEMPTS = 5;
const BACKOFF: Backoff = { firstMs: 200, maxMs: 5_000 };
const CANCEL_TIMEOUT_MS = 15_000;
const FIELDS = "generation,size,md5Hash";
const TYPE = "application/octet-stream";

/** How objects are sent, by their size. */
export interface UploadSizes {
  /** Largest object that is sent in one request. */
  readonly wholeBytes: number;
  /** Bytes of each chunk but the last: whole slices. (Cloud Storage wants multiples of 256 KiB.) */
  readonly chunkBytes: number;
}

/** One object to store. */
export interface GcsUpload {
  readonly requests: GcsRequests;
  readonly budget: PartBudget;
  readonly sizes: UploadSizes;
  /** As text, which JSON holds. */
  readonly name: string;
  /** Resource to make, beside name and checksum. */
  readonly resource: Readonly<Record<string, unknown>>;
  /** Parameters of the insertion. */
  readonly query: Readonly<Record<string, string>>;
  readonly condition: PutCondition | undefined;
  readonly content: Content;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** Stores the object; returns its generation. @throws StorageError when it is not stored */
export async function putObject(upload: GcsUpload): Promise<string> {
  const { content, condition, doing } = upload;
  if (condition?.ifMatch !== undefined && !isGeneration(condition.ifMatch)) {
    throw new StorageError(
      "conflict",
      `Cannot ${doing}: no object has the tag ${condition.ifMatch}`,
    );
  }
  const [stored, md5] = content.size <= upload.sizes.wholeBytes
    ? await putWhole(upload)
    : await putResumable(upload);
  if (stored.md5Hash === md5 && Number(stored.size) === content.size) return stored.generation;
  await discard(upload, stored.generation);
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: ${stored.size} bytes with MD5 ${stored.md5Hash} were stored, not ` +
      `${content.size} with ${md5}`,
  );
}

function insertion(upload: GcsUpload, uploadType: string): Record<string, string> {
  const { condition } = upload;
  return {
    uploadType,
    fields: FIELDS,
    ...upload.query,
    ...(condition === undefined ? {} : { ifGenerationMatch: condition.ifMatch ?? "0" }),
  };
}

/** What every request of an upload has in common. */
function common({ requests, condition, doing, signal }: GcsUpload) {
  const conditional = condition !== undefined;
  return {
    path: requests.paths.uploads,
    permission: "storage.objects.create",
    conditional,
    doing,
    signal,
  };
}

async function putWhole(upload: GcsUpload): Promise<[ObjectResource, string]> {
  const { content, budget, requests, doing } = upload;
  // The bytes are held twice: as they were read, and in the body.
  const share = content.size > COUNTED_BYTES ? await budget.take(2 * content.size) : 0;
  try {
    const hash = createHash("md5");
    const bytes = await readChunk(upload, 0, content.size, hash);
    const md5 = hash.digest("base64");
    const boundary = crypto.randomUUID();
    const resource = JSON.stringify({ ...upload.resource, name: upload.name, md5Hash: md5 });
    const answer = await requests.send({
      ...common(upload),
      method: "POST",
      query: insertion(upload, "multipart"),
      headers: [["content-type", `multipart/related; boundary=${boundary}`]],
      body: multipartBody(boundary, resource, bytes),
    });
    return [parseResource(await answer.text(), doing), md5];
  } finally {
    budget.give(share);
  }
}

/** Resource and bytes in one body (RFC 2387). */
function multipartBody(
  boundary: string,
  resource: string,
  bytes: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const head = encoder.encode(
    `--${boundary}\r\ncontent-type: application/json\r\n\r\n${resource}\r\n` +
      `--${boundary}\r\ncontent-type: ${TYPE}\r\n\r\n`,
  );
  const tail = encoder.encode(`\r\n--${boundary}--`);
  const body = new Uint8Array(head.length + bytes.length + tail.length);
  body.set(head);
  body.set(bytes, head.length);
  body.set(tail, head.length + bytes.length);
  return body;
}

async function putResumable(upload: GcsUpload): Promise<[ObjectResource, string]> {
  const { content, budget, sizes, doing } = upload;
  const session = await begin(upload);
  try {
    const hash = createHash("md5");
    for (let offset = 0;; offset += sizes.chunkBytes) {
      const length = Math.min(sizes.chunkBytes, content.size - offset);
      const share = await budget.take(length);
      try {
        const bytes = await readChunk(upload, offset, length, hash);
        const md5 = offset + length === content.size ? hash.digest("base64") : null;
        const stored = await sendChunk(upload, session, offset, bytes, md5);
        if (stored === null) continue;
        if (md5 !== null) return [stored, md5];
        // A server that takes the question how much has arrived for the end of the upload.
        await discard(upload, stored.generation);
        throw new StorageError("transient", `Cannot ${doing}: the upload was ended too early`);
      } finally {
        budget.give(share);
      }
    }
  } catch (error) {
    await cancel(upload, session);
    throw error;
  }
}

/** Begins a session; returns its id. */
async function begin(upload: GcsUpload): Promise<string> {
  const { requests, content, doing } = upload;
  const answer = await requests.send({
    ...common(upload),
    method: "POST",
    query: insertion(upload, "resumable"),
    headers: [
      ["content-type", "application/json; charset=UTF-8"],
      ["x-upload-content-type", TYPE],
      ["x-upload-content-length", String(content.size)],
    ],
    body: jsonBody({ ...upload.resource, name: upload.name }),
  });
  await answer.cancel();
  // Only the id is taken: a token must never go where an answer points to.
  const location = answer.headers.get("location") ?? "";
  const session = URL.canParse(location) ? new URL(location).searchParams.get("upload_id") : null;
  if (session) return keyFromText(session);
  throw new StorageError("corrupt", `Cannot ${doing}: the answer names no upload session`);
}

/**
 * Sends one chunk until all of it has arrived; what arrived of it is not sent again.
 * @param md5 Of the whole object, for the last chunk; null for the others.
 * @returns The object after the last chunk.
 */
async function sendChunk(
  upload: GcsUpload,
  session: string,
  offset: number,
  bytes: Uint8Array<ArrayBuffer>,
  md5: string | null,
): Promise<ObjectResource | null> {
  const { content, doing, signal } = upload;
  const end = offset + bytes.length;
  let from = offset;
  let failure: StorageError | null = null;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      // After a failure nobody knows what has arrived.
      const answer = failure === null
        ? await send(upload, session, {
          body: bytes.subarray(from - offset),
          range: `bytes ${from}-${end - 1}/${content.size}`,
          md5,
        })
        : await send(upload, session, { range: `bytes */${content.size}`, md5: null });
      failure = null;
      if (answer.status === 404 || answer.status === 410) {
        await answer.cancel();
        failure = new StorageError("transient", `Cannot ${doing}: the upload's session is gone`);
        break;
      }
      if (answer.status !== 308) return parseResource(await answer.text(), doing);
      await answer.cancel();
      const arrived = arrivedOf(answer);
      if (arrived < from) {
        throw new StorageError("permanent", `Cannot ${doing}: bytes that had arrived were lost`);
      }
      if (arrived >= end && md5 === null) return null;
      if (arrived > from) attempt = 1;
      from = Math.min(arrived, end);
    } catch (error) {
      if (!(error instanceof StorageError) || signal.aborted) throw error;
      if (error.kind !== "transient" && error.kind !== "throttled") throw error;
      failure = error;
      await pause(backoffMs(BACKOFF, attempt, error.options.retryAfterMs), signal);
      if (signal.aborted) throw stopped(doing, signal);
    }
  }
  throw failure ?? new StorageError("transient", `Cannot ${doing}: a chunk does not arrive`);
}

/** One request of a session; 308 says that more is to come, 404 and 410 that the session is no more. */
function send(
  upload: GcsUpload,
  session: string,
  chunk: { body?: Uint8Array<ArrayBuffer>; range: string; md5: string | null },
): Promise<HttpAnswer> {
  const headers: [string, string][] = [["content-range", chunk.range]];
  if (chunk.md5 !== null) headers.push(["x-goog-hash", `md5=${chunk.md5}`]);
  return upload.requests.send({
    ...common(upload),
    method: "PUT",
    query: { uploadType: "resumable", upload_id: session },
    headers,
    body: chunk.body ?? new Uint8Array(0),
    expects: [308, 404, 410],
  });
}

/** Bytes that the server holds, from the first on. */
function arrivedOf(answer: HttpAnswer): number {
  const match = /^bytes=0-(\d{1,15})$/.exec(answer.headers.get("range") ?? "");
  return match === null ? 0 : Number(match[1]) + 1;
}

/** Ends the session; where that fails it ends by itself. */
async function cancel(upload: GcsUpload, session: string): Promise<void> {
  try {
    const answer = await upload.requests.send({
      ...common(upload),
      method: "DELETE",
      query: { uploadType: "resumable", upload_id: session },
      // The caller's signal may be what ended the upload.
      signal: AbortSignal.timeout(CANCEL_TIMEOUT_MS),
      expects: [404, 410, 499],
    });
    await answer.cancel();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}

/** Removes an object that is not what was sent. */
async function discard({ requests, name, doing }: GcsUpload, generation: string): Promise<void> {
  const answer = await requests.send({
    method: "DELETE",
    path: requests.paths.object(keyFromText(name)),
    query: { generation },
    permission: "storage.objects.delete",
    doing: `${doing}, nor remove what was stored instead`,
    signal: AbortSignal.timeout(CANCEL_TIMEOUT_MS),
    expects: [404],
  });
  await answer.cancel();
}

/**
 * Reads whole slices, sees that they are the bytes that were hashed when the file was taken, and feeds
 * them to `md5`.
 */
async function readChunk(
  { content, doing }: GcsUpload,
  offset: number,
  length: number,
  md5: Hash,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await readContent(content, offset, length, doing);
  const digests = Array.from(
    { length: Math.max(1, Math.ceil(length / SLICE_BYTES)) },
    (_, i) => digestOf(bytes.subarray(i * SLICE_BYTES, (i + 1) * SLICE_BYTES)),
  );
  // The large ones are hashed on other threads meanwhile.
  await feed(md5, bytes);
  for (const [i, digest] of (await Promise.all(digests)).entries()) {
    const expected = content.sliceDigests[offset / SLICE_BYTES + i];
    if (expected === undefined || digest.some((byte, at) => byte !== expected[at])) {
      throw new StorageError("permanent", `Cannot ${doing}: its content is not what was hashed`);
    }
  }
  return bytes;
}

async function digestOf(slice: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  if (slice.length < COUNTED_BYTES) return createHash("sha256").update(slice).digest();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", slice));
}

/** Hashes without holding the event loop up. */
async function feed(hash: Hash, bytes: Uint8Array): Promise<void> {
  hash.update(bytes.subarray(0, HASH_STEP_BYTES));
  for (let at = HASH_STEP_BYTES; at < bytes.length; at += HASH_STEP_BYTES) {
    await new Promise<void>((next) => setImmediate(next));
    hash.update(bytes.subarray(at, at + HASH_STEP_BYTES));
  }
}
