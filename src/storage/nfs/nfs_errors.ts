/**
 * What the errors of an archive directory mean, and what helps against them.
 *
 * @module
 */

import {
  EACCES,
  EAGAIN,
  EBUSY,
  EDQUOT,
  EEXIST,
  EINVAL,
  EIO,
  EISDIR,
  ELOOP,
  EMFILE,
  ENAMETOOLONG,
  ENFILE,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  EPERM,
  EROFS,
  ESTALE,
} from "../../../ffi/errno.ts";
import type { FileError } from "../../../ffi/file_error.ts";
import { StorageError, type StorageErrorKind } from "../backend.ts";

/** errno → what the caller should do; those not named are transient. */
const KINDS: ReadonlyMap<number, StorageErrorKind> = new Map([
  [EPERM, "denied"],
  [EACCES, "denied"],
  [EROFS, "denied"],
  [ENOSPC, "denied"],
  [EDQUOT, "denied"],
  // What a missing object gives: its name, or one above it, is taken by another kind of file.
  [ENOENT, "absent"],
  [ENOTDIR, "absent"],
  [EISDIR, "absent"],
  [EEXIST, "conflict"],
  [EINVAL, "permanent"],
  [ELOOP, "permanent"],
  [ENAMETOOLONG, "permanent"],
  [EAGAIN, "corrupt"],
  [EIO, "transient"],
  [EBUSY, "transient"],
  [ENFILE, "transient"],
  [EMFILE, "transient"],
  // The server does not know the file or the mount any more (nfs(5)).
  [ESTALE, "transient"],
]);

const HINTS: ReadonlyMap<number, string> = new Map([
  [EPERM, "the daemon's user must own the directory or may write there"],
  [EACCES, "let the daemon's user read and write there"],
  [EROFS, "mount it for writing"],
  [ENOSPC, "make room there"],
  [EDQUOT, "raise the quota of the daemon's user"],
  [ENOTDIR, "a file stands where a directory is needed"],
  [EISDIR, "a directory stands where a file is needed"],
  [EINVAL, "something other than a regular file stands there"],
  [ELOOP, "symbolic links are not followed there; remove the link"],
  [EAGAIN, "the file changed while it was read"],
  [ESTALE, "the server no longer knows the mount; mount it again"],
]);

/** @param doing For the error's text: `reach a/b in nfs:/archive`. */
export function storageError(error: FileError, doing: string): StorageError {
  const kind = KINDS.get(error.errno) ?? "transient";
  const hint = HINTS.get(error.errno);
  const system = error.message.slice(error.message.lastIndexOf(": ") + 2);
  const what = `Cannot ${doing}: ${system}`;
  return new StorageError(kind, hint === undefined ? what : `${what}; ${hint}`, { cause: error });
}
