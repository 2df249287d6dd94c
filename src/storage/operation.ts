/**
 * What the operations of every backend share: stopping when told to, and reading what they upload.
 *
 * @module
 */

import { type Content, StorageError } from "./backend.ts";

/** The error of an operation that was stopped from outside; the signal's reason is its cause. */
export function stopped(doing: string, signal: AbortSignal): StorageError {
  return new StorageError("transient", `Cannot ${doing}: stopped`, { cause: signal.reason });
}

/**
 * Reads a part of the content.
 * @param doing For the error's text: `store a/b in s3://bucket`.
 * @throws StorageError permanent, with the reader's error as its cause: this content can never be
 * stored, only a new version of it.
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
    const why = error instanceof Error ? error.message : String(error);
    throw new StorageError("permanent", `Cannot ${doing}: its content cannot be read: ${why}`, {
      cause: error,
    });
  }
  if (bytes.length === length) return bytes;
  throw new StorageError(
    "permanent",
    `Cannot ${doing}: ${bytes.length} bytes were read of ${length} at ${offset}`,
  );
}
