/**
 * The error of every call that works on files.
 *
 * @module
 */

const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  5: "EIO",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  18: "EXDEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  36: "ENAMETOOLONG",
  38: "ENOSYS",
  40: "ELOOP",
  95: "EOPNOTSUPP",
  110: "ETIMEDOUT",
  116: "ESTALE",
  122: "EDQUOT",
};

/** A failed system call: what was done, to which path, and the errno. */
export class FileError extends Error {
  override readonly name = "FileError";
  constructor(readonly errno: number, doing: string, readonly path: string) {
    super(`Cannot ${doing} ${path}: ${ERRNO_NAMES[errno] ?? `errno ${errno}`}`);
  }
}
