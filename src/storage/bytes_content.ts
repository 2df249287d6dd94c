/**
 * Bytes at hand as content to store: for our own small objects.
 *
 * @module
 */

import { type Content, SLICE_BYTES } from "./backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "./content_digest.ts";

/** Only the daemon reads and writes its own objects. */
const MODE = 0o600;

/** @param mtimeMs When it was made, ms since 1970. */
export function bytesContent(bytes: Uint8Array, mtimeMs: number): Content {
  const sliceDigests = Array.from(
    { length: sliceCount(bytes.length) },
    (_, i) => sliceDigest(bytes.subarray(i * SLICE_BYTES, (i + 1) * SLICE_BYTES)),
  );
  return {
    size: bytes.length,
    digest: contentDigest(sliceDigests),
    sliceDigests,
    mtimeNs: BigInt(Math.floor(mtimeMs)) * 1_000_000n,
    mode: MODE,
    read: (offset, length) => bytes.slice(offset, offset + length),
  };
}
