/**
 * Typed binding of `shim/helper/room.h`.
 *
 * @module
 */

import { FileError } from "./file_error.ts";
import { cString, openHelper } from "./library.ts";

const SYMBOLS = {
  p4room_keep: { parameters: ["buffer", "i64", "buffer"], result: "i32" },
} as const;

/**
 * Keeps disk space behind the end of a file, for what it grows by; 0 bytes give it back, and then nobody
 * may write to the file meanwhile. A filesystem that cannot do so is left alone.
 * @param path Absolute, one character a byte.
 * @returns The file's size, which stays.
 * @throws FileError
 */
export function keepRoom(path: string, bytes: number): number {
  const library = openHelper(SYMBOLS);
  const size = new BigInt64Array(1);
  const rc = library.symbols.p4room_keep(cString(path), BigInt(bytes), size);
  library.close();
  if (rc < 0) throw new FileError(-rc, "keep room behind", path);
  return Number(size[0]);
}
