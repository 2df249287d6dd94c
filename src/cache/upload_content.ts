/**
 * One version of a file, hashed and ready to be stored.
 *
 * A small file's bytes are at hand. A large one is read twice: once to hash its slices, so that the
 * digest can travel with the object and every part is sent with the digest it was hashed to, and once
 * to send. Both times the file must still be the version that was opened.
 *
 * @module
 */

import { EINVAL, ELOOP, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { SmallRead } from "../../ffi/many.ts";
import { type Content, SLICE_BYTES } from "../storage/backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "../storage/content_digest.ts";
import type { SliceWork } from "../storage/file_transfer.ts";
import { INLINE_WORK } from "../storage/transfer_threads.ts";
import { ThreadedVersion } from "./threaded_version.ts";

const PERMISSIONS = 0o7777;

/** The file is no longer the version that was opened: a new event is on its way. */
export class FileChanged extends Error {
  override readonly name = "FileChanged";
}

/** Some process has the file open for writing: its close will say when it is whole. */
export class FileBeingWritten extends Error {
  override readonly name = "FileBeingWritten";
}

/** A version of a file of the depot; closed after the upload where it needs that. */
export interface LocalContent extends Content {
  /** When anything of the file was changed last, ns. */
  readonly ctimeNs: bigint;
  close?(): void;
}

/**
 * Content of a file that was to be read whole.
 * @throws FileError, {@link FileChanged}, {@link FileBeingWritten}
 */
export function smallContent(read: SmallRead): LocalContent {
  if (read.kind === "beingWritten") throw new FileBeingWritten();
  if (read.kind === "failed") throw new FileError(read.errno, "read", "the file");
  if (read.kind !== "whole") throw new FileChanged();
  const { stat, bytes } = read;
  const digest = sliceDigest(bytes);
  return {
    size: bytes.length,
    digest: contentDigest([digest]),
    sliceDigests: [digest],
    mtimeNs: stat.mtimeNs,
    ctimeNs: stat.ctimeNs,
    mode: stat.mode & PERMISSIONS,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * Opens and hashes a file of any size: by threads, where they can, else with one slice in memory.
 * @throws FileError, {@link FileChanged}, {@link FileBeingWritten}
 */
export async function openContent(
  files: DepotFiles,
  path: string,
  work: SliceWork = INLINE_WORK,
): Promise<LocalContent> {
  const { fd, stat } = files.open(path);
  const assertSame = () => {
    const now = files.statOpen(fd, path);
    if (now.size !== stat.size || now.mtimeNs !== stat.mtimeNs) throw new FileChanged();
  };
  const read = async (offset: number, length: number, room?: Uint8Array<ArrayBuffer>) => {
    const bytes = await files.read(fd, path, offset, length, room);
    if (bytes.length !== length) throw new FileChanged();
    assertSame();
    return bytes;
  };
  try {
    if (files.isBeingWritten(fd)) throw new FileBeingWritten();
    const { size, mtimeNs } = stat;
    const threaded = work.files === null
      ? null
      : new ThreadedVersion(work.files, { fd, size, mtimeNs }, path, () => new FileChanged());
    const sliceDigests = await (threaded?.sliceDigests() ?? hashSlices(size, read));
    return {
      size,
      digest: contentDigest(sliceDigests),
      sliceDigests,
      mtimeNs,
      ctimeNs: stat.ctimeNs,
      mode: stat.mode & PERMISSIONS,
      read: (offset, length) => read(offset, length),
      ...(threaded === null ? {} : {
        body: (offset, length) => threaded.body(offset, length, () => read(offset, length)),
      }),
      close: () => files.closeFile(fd),
    };
  } catch (error) {
    files.closeFile(fd);
    throw error;
  }
}

/** Hashes slice after slice in one buffer. */
async function hashSlices(
  size: number,
  read: (
    offset: number,
    length: number,
    room: Uint8Array<ArrayBuffer>,
  ) => Promise<Uint8Array<ArrayBuffer>>,
): Promise<Uint8Array[]> {
  const room = new Uint8Array(Math.min(SLICE_BYTES, size));
  const digests: Uint8Array[] = [];
  for (let i = 0; i < sliceCount(size); i++) {
    const offset = i * SLICE_BYTES;
    digests.push(sliceDigest(await read(offset, Math.min(SLICE_BYTES, size - offset), room)));
  }
  return digests;
}

/** Whether the error says that there is no file to upload at the path any more. */
export function isNoFile(errno: number): boolean {
  return errno === ENOENT || errno === ENOTDIR || errno === EINVAL || errno === ELOOP;
}
