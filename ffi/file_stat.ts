/**
 * What a file is, as `p4_stat` of `shim/helper/files.h` tells it.
 *
 * @module
 */

/** What a file is. */
export interface FileStat {
  readonly size: number;
  readonly mtimeNs: bigint;
  /** When anything of the file changed last: no program can set it. */
  readonly ctimeNs: bigint;
  /** Type and permission bits (stat(2) st_mode). */
  readonly mode: number;
  readonly nlink: number;
}

const S_IFMT = 0o170000, S_IFREG = 0o100000;

/** Whether the mode is a regular file's. */
export function isRegular(stat: FileStat): boolean {
  return (stat.mode & S_IFMT) === S_IFREG;
}

/** Size of a `p4_stat`. */
export const STAT_BYTES = 40;

/** Reads the `p4_stat` that begins at byte `at`. */
export function statAt(view: DataView, at: number): FileStat {
  return {
    size: Number(view.getBigInt64(at, true)),
    mtimeNs: view.getBigInt64(at + 8, true),
    mode: view.getUint32(at + 16, true),
    nlink: view.getUint32(at + 20, true),
    ctimeNs: view.getBigInt64(at + 32, true),
  };
}
