/**
 * The error of every call that works on files.
 *
 * @module
 */

import { errnoText } from "./errno.ts";

/** A failed system call: what was done, to which path, and the errno. */
export class FileError extends Error {
  override readonly name = "FileError";
  constructor(readonly errno: number, doing: string, readonly path: string) {
    super(`Cannot ${doing} ${path}: ${errnoText(errno)}`);
  }
}
