/**
 * The content digest: one line of text that identifies a file's bytes.
 *
 * Up to one slice: `sha256:<hex>`, what `sha256sum` prints. Above: `sha256-8MiB:<hex>`, the SHA-256
 * of the concatenated SHA-256 digests of each 8 MiB slice (the composite form S3 uses for multipart
 * checksums), so that slices can be hashed, sent, fetched and verified in any order.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { SLICE_BYTES } from "./backend.ts";

/** SHA-256 of one slice. */
export function sliceDigest(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}

/** Number of slices of a file of `size` bytes; an empty file has one empty slice. */
export function sliceCount(size: number): number {
  return Math.max(1, Math.ceil(size / SLICE_BYTES));
}

/** Joins the digests of all slices, in order, into the content digest. */
export function contentDigest(sliceDigests: readonly Uint8Array[]): string {
  const [first] = sliceDigests;
  if (first === undefined) throw new Error("Cannot digest content without slices");
  if (sliceDigests.length === 1) return "sha256:" + hex(first);
  const whole = createHash("sha256");
  for (const digest of sliceDigests) whole.update(digest);
  return "sha256-8MiB:" + whole.digest("hex");
}

/** Lower-case hexadecimal of a digest. (deno-std's encodeHex takes the memory of a Buffer away.) */
export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
