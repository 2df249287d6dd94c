/**
 * Ranges of open files for a thread that has nothing but their descriptors: the calls wait for the disk
 * there, where nobody else does. Binds parts of `shim/helper/files.h`.
 *
 * @module
 */

import { FileError } from "./file_error.ts";
import { type Bytes, openHelper } from "./library.ts";

const SYMBOLS = {
  p4files_pread: { parameters: ["i32", "buffer", "u64", "i64"], result: "i64" },
  p4files_pwrite: { parameters: ["i32", "buffer", "u64", "i64"], result: "i32" },
  p4files_will_read: { parameters: ["i32", "u64", "i64"], result: "void" },
  p4files_fstat: { parameters: ["i32", "buffer"], result: "i32" },
} as const;

const STAT_BYTES = 40;

/** See the module. */
export class FileRanges {
  readonly #calls;
  readonly #stat: Bytes = new Uint8Array(STAT_BYTES);

  /** @param helperPath Where the process has the helper library. */
  constructor(helperPath: string) {
    this.#calls = openHelper(SYMBOLS, helperPath).symbols;
  }

  /** Reads up to `out.length` bytes at `offset`; fewer only at the end of the file. @throws FileError */
  read(fd: number, out: Bytes, offset: number): number {
    const n = Number(this.#calls.p4files_pread(fd, out, BigInt(out.length), BigInt(offset)));
    if (n < 0) throw new FileError(-n, "read", "an open file");
    return n;
  }

  /** The kernel may begin to read that range. */
  willRead(fd: number, offset: number, length: number): void {
    this.#calls.p4files_will_read(fd, BigInt(length), BigInt(offset));
  }

  /** Writes all bytes at the offset. @throws FileError */
  write(fd: number, bytes: Bytes, offset: number): void {
    const rc = this.#calls.p4files_pwrite(fd, bytes, BigInt(bytes.length), BigInt(offset));
    if (rc < 0) throw new FileError(-rc, "write", "a file that is restored");
  }

  /** What tells one version of an open file from another. @throws FileError */
  version(fd: number): { readonly size: number; readonly mtimeNs: bigint } {
    const rc = this.#calls.p4files_fstat(fd, this.#stat);
    if (rc < 0) throw new FileError(-rc, "stat", "an open file");
    const view = new DataView(this.#stat.buffer);
    return { size: Number(view.getBigInt64(0, true)), mtimeNs: view.getBigInt64(8, true) };
  }
}
