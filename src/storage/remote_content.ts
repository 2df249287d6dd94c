/**
 * An object of one backend as content for another, in slices: never more than a few in memory.
 *
 * @module
 */

import {
  type Backend,
  type Content,
  type ObjectInfo,
  SLICE_BYTES,
  StorageError,
} from "./backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "./content_digest.ts";
import type { DepotPath } from "../depot_path.ts";

/** Mode of a file whose object does not say. */
const DEFAULT_MODE = 0o644;

/**
 * Reads the object once to hash its slices; a larger one than a slice is read a second time when it is
 * sent. What the object does not say of its file is made up.
 * @param pace Called before each read, with its bytes: a wait makes it slower.
 * @throws StorageError corrupt when it is not what its digest says
 */
export async function remoteContent(
  backend: Backend,
  path: DepotPath,
  signal: AbortSignal,
  pace: (bytes: number) => Promise<void> = () => Promise.resolve(),
): Promise<Content & { readonly info: ObjectInfo }> {
  const first = await backend.getRange(path, 0, SLICE_BYTES, { signal });
  const { info } = first;
  const options = info.etag === "" ? { signal } : { signal, ifMatch: info.etag };
  const read = async (offset: number, length: number) => {
    await pace(length);
    return (await backend.getRange(path, offset, length, options)).bytes;
  };
  await pace(first.bytes.length);
  const sliceDigests = [sliceDigest(first.bytes)];
  for (let i = 1; i < sliceCount(info.size); i++) {
    const offset = i * SLICE_BYTES;
    sliceDigests.push(sliceDigest(await read(offset, Math.min(SLICE_BYTES, info.size - offset))));
  }
  const digest = contentDigest(sliceDigests);
  if (info.digest !== null && info.digest !== digest) {
    throw new StorageError(
      "corrupt",
      `${backend.label} holds other content than was uploaded: expected ${info.digest}, got ${digest}`,
    );
  }
  const isSmall = info.size <= SLICE_BYTES;
  return {
    info,
    size: info.size,
    digest,
    sliceDigests,
    mtimeNs: info.mtimeNs ?? BigInt(info.storedMs ?? Date.now()) * 1_000_000n,
    mode: info.mode ?? DEFAULT_MODE,
    read: isSmall ? (offset, length) => first.bytes.subarray(offset, offset + length) : read,
  };
}
