/**
 * One version of a file, hashed and ready to be stored.
 *
 * A small file's bytes are at hand. A large one is read twice: once to hash its slices, so that the
 * digest can travel with the object and every part is sent with the digest it was hashed to, and once
 * to send. Both times the file must still be the version that was opened.
 *
 * @module
 */

import type { DepotFiles, FileStat } from "../../ffi/files.ts";
import { type Content, SLICE_BYTES } from "../storage/backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "../storage/content_digest.ts";

const PERMISSIONS = 0o7777;

/** The file is no longer the version that was opened: a new event is on its way. */
export class FileChanged extends Error {
  override readonly name = "FileChanged";
}

/** Some process has the file open for writing: its close will say when it is whole. */
export class FileBeingWritten extends Error {
  override readonly name = "FileBeingWritten";
}

/** Content of a file whose bytes were read whole. */
export function smallContent(stat: FileStat, bytes: Uint8Array<ArrayBuffer>): Content {
  const digest = sliceDigest(bytes);
  return {
    size: bytes.length,
    digest: contentDigest([digest]),
    sliceDigests: [digest],
    mtimeNs: stat.mtimeNs,
    mode: stat.mode & PERMISSIONS,
    read: (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/** An open file as content; {@link close} it after the upload. */
export interface LargeContent extends Content {
  close(): void;
}

/**
 * Opens and hashes a file of any size, one slice in memory at a time.
 * @throws FileError, {@link FileChanged}, {@link FileBeingWritten}
 */
export async function openContent(files: DepotFiles, path: string): Promise<LargeContent> {
  const { fd, stat } = files.open(path);
  const assertSame = () => {
    const now = files.statOpen(fd, path);
    if (now.size !== stat.size || now.mtimeNs !== stat.mtimeNs) throw new FileChanged();
  };
  const read = async (offset: number, length: number) => {
    const bytes = await files.read(fd, path, offset, length);
    if (bytes.length !== length) throw new FileChanged();
    assertSame();
    return bytes;
  };
  try {
    if (files.isBeingWritten(fd)) throw new FileBeingWritten();
    const sliceDigests: Uint8Array[] = [];
    for (let i = 0; i < sliceCount(stat.size); i++) {
      const offset = i * SLICE_BYTES;
      const bytes = await read(offset, Math.min(SLICE_BYTES, stat.size - offset));
      sliceDigests.push(sliceDigest(bytes));
    }
    return {
      size: stat.size,
      digest: contentDigest(sliceDigests),
      sliceDigests,
      mtimeNs: stat.mtimeNs,
      mode: stat.mode & PERMISSIONS,
      read,
      close: () => files.closeFile(fd),
    };
  } catch (error) {
    files.closeFile(fd);
    throw error;
  }
}

/** Whether the error says that there is no file to upload at the path any more. */
export function isNoFile(errno: number): boolean {
  const ENOENT = 2, ENOTDIR = 20, EINVAL = 22, ELOOP = 40;
  return errno === ENOENT || errno === ENOTDIR || errno === EINVAL || errno === ELOOP;
}
