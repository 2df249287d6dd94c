/**
 * What the operations of every backend share: stopping when told to, reading what they upload, and sending
 * parts of it again.
 *
 * @module
 */

import { type Backoff, backoffMs, pause } from "./backoff.ts";
import { type Content, SLICE_BYTES, StorageError } from "./backend.ts";
import { sliceDigest } from "./content_digest.ts";
import type { FileBody } from "./file_transfer.ts";

/** Bodies from here on are sent from their file, where they can be. */
const FILE_BODY_BYTES = 256 * 1024;

/** Times a part is sent, and the waits between. */
const ATTEMPTS = 4, BACKOFF: Backoff = { firstMs: 200, maxMs: 5_000 };

/** The error of an operation that was stopped from outside; the signal's reason is its cause. */
export function stopped(doing: string, signal: AbortSignal): StorageError {
  return new StorageError("transient", `Cannot ${doing}: stopped`, { cause: signal.reason });
}

/**
 * Reads a part of the content.
 * @param doing For the error's text: `store a/b in s3://bucket`.
 * @throws StorageError as {@link unreadable}
 */
export async function readContent(
  content: Content,
  offset: number,
  length: number,
  doing: string,
): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    const reading = content.read(offset, length);
    bytes = reading instanceof Uint8Array ? reading : await reading;
  } catch (error) {
    throw unreadable(doing, error);
  }
  if (bytes.length === length) return bytes;
  throw new StorageError(
    "permanent",
    `Cannot ${doing}: ${bytes.length} bytes were read of ${length} at ${offset}`,
  );
}

/** The error of a put whose content cannot be read: it can never be stored, only a new version of it. */
export function unreadable(doing: string, cause: unknown): StorageError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const message = `Cannot ${doing}: its content cannot be read: ${why}`;
  return new StorageError("permanent", message, { cause });
}

/**
 * The same as the body of a request: from the file where it may be, else from memory.
 * @throws StorageError as {@link readContent}
 */
async function bodyOf(
  content: Content,
  offset: number,
  length: number,
  doing: string,
): Promise<Uint8Array<ArrayBuffer> | FileBody> {
  // Less is sent sooner than handed to another thread.
  if (content.body === undefined || length < FILE_BODY_BYTES) {
    return await readContent(content, offset, length, doing);
  }
  return await content.body(offset, length);
}

/**
 * The body of a request with its SHA-256, which is known before for slices.
 * @param offset At the begin of a slice.
 * @throws StorageError as {@link readContent}
 */
export async function hashedBody(
  content: Content,
  offset: number,
  length: number,
  doing: string,
): Promise<{ body: Uint8Array<ArrayBuffer> | FileBody; digest: Uint8Array }> {
  const known = length <= SLICE_BYTES ? content.sliceDigests[offset / SLICE_BYTES] : undefined;
  if (known !== undefined) {
    return { body: await bodyOf(content, offset, length, doing), digest: known };
  }
  const body = await readContent(content, offset, length, doing);
  return { body, digest: sliceDigest(body) };
}

/**
 * Sends the request for a part again when that may help: its failure must not cost all the others.
 * @param requests Signs and sends the provider's requests.
 * @throws StorageError of the last attempt
 */
export async function persist<Request extends { readonly signal: AbortSignal }, Answer>(
  requests: { send(request: Request): Promise<Answer> },
  request: Request,
): Promise<Answer> {
  for (let attempt = 1;; attempt++) {
    try {
      return await requests.send(request);
    } catch (error) {
      if (!(error instanceof StorageError) || attempt === ATTEMPTS) throw error;
      if (error.kind !== "transient" && error.kind !== "throttled") throw error;
      await pause(backoffMs(BACKOFF, attempt, error.options.retryAfterMs), request.signal);
    }
  }
}
