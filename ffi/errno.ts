/**
 * The numbers that system calls fail with, and their names (errno-base.h and errno.h of Linux).
 *
 * @module
 */

export const EPERM = 1, ENOENT = 2, EIO = 5, EBADF = 9, EAGAIN = 11, ENOMEM = 12, EACCES = 13;
export const EBUSY = 16, EEXIST = 17, EXDEV = 18, ENOTDIR = 20, EISDIR = 21, EINVAL = 22;
export const ENFILE = 23, EMFILE = 24, EFBIG = 27, ENOSPC = 28, EROFS = 30, ENAMETOOLONG = 36;
export const ENOTEMPTY = 39, ENOSYS = 38, ELOOP = 40, EOPNOTSUPP = 95, ENOBUFS = 105;
export const ESTALE = 116, ETIMEDOUT = 110, EDQUOT = 122;

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    EPERM,
    ENOENT,
    EIO,
    EBADF,
    EAGAIN,
    ENOMEM,
    EACCES,
    EBUSY,
    EEXIST,
    EXDEV,
    ENOTDIR,
    EISDIR,
    EINVAL,
    ENFILE,
    EMFILE,
    EFBIG,
    ENOSPC,
    EROFS,
    ENAMETOOLONG,
    ENOSYS,
    ENOTEMPTY,
    ELOOP,
    EOPNOTSUPP,
    ENOBUFS,
    ETIMEDOUT,
    ESTALE,
    EDQUOT,
  }).map(([name, errno]) => [errno, name]),
);

/** What an administrator should not have to look up. */
const WORDS: ReadonlyMap<number, string> = new Map([
  [EACCES, "permission denied"],
  [EIO, "input/output error"],
  [ENOSPC, "no space left on the disk"],
  [EROFS, "the filesystem is read-only"],
  [EDQUOT, "over the disk quota"],
]);

/** The name of an errno, as programs print it; the number where it has none here. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`;
}

/** The same with words, where the name alone says little to whoever reads the log. */
export function errnoText(errno: number): string {
  const words = WORDS.get(errno);
  return words === undefined ? errnoName(errno) : `${words} (${errnoName(errno)})`;
}
