/**
 * Contents to store in tests.
 *
 * @module
 */

import { type DepotPath, pathFromBytes } from "../../src/depot_path.ts";
import type { Content } from "../../src/storage/backend.ts";
import { bytesContent } from "../../src/storage/bytes_content.ts";

/** Content with the given bytes. */
export function contentOf(
  bytes: Uint8Array<ArrayBuffer>,
  { mtimeNs = 1_700_000_000_123_456_789n, mode = 0o444 } = {},
): Content {
  return { ...bytesContent(bytes, 0), mtimeNs, mode };
}

/** Bytes that differ everywhere and from one seed to another. */
export function someBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer).subarray(0, length);
}

/** A depot path from text in UTF-8. */
export function textPath(text: string): DepotPath {
  return pathFromBytes(new TextEncoder().encode(text));
}

/** A depot path from bytes written as one character each. */
export function bytePath(bytes: string): DepotPath {
  return bytes as DepotPath;
}

/** A signal that is never aborted. */
export const never: AbortSignal = new AbortController().signal;
