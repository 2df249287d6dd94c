/**
 * Typed binding of `shim/helper/many.h`: many depot files looked at, or read, in one call.
 *
 * @module
 */

import { ENOENT } from "./errno.ts";
import { FileError } from "./file_error.ts";
import { type FileStat, STAT_BYTES, statAt } from "./file_stat.ts";
import { type Bytes, holding, openHelper, packPaths } from "./library.ts";

const SYMBOLS = {
  p4many_stat: {
    parameters: ["i32", "buffer", "u64", "buffer", "u32"],
    result: "i32",
    nonblocking: true,
  },
  p4many_sizes: { parameters: ["i32", "buffer", "u64", "buffer", "u32"], result: "i32" },
  p4many_read: {
    parameters: ["i32", "buffer", "u64", "u64", "buffer", "u64", "buffer", "u32"],
    result: "i32",
    nonblocking: true,
  },
} as const;

const READ_BYTES = 16 + STAT_BYTES;

/** How reading one small file went. */
export type SmallRead =
  | { readonly kind: "whole"; readonly stat: FileStat; readonly bytes: Bytes }
  /** Too large for this way of reading. */
  | { readonly kind: "large"; readonly stat: FileStat }
  /** Some process has it open for writing; a write event will follow its close. */
  | { readonly kind: "beingWritten" }
  /** It changed while it was read. */
  | { readonly kind: "changed" }
  | { readonly kind: "failed"; readonly errno: number };

/**
 * Calls for many files of one depot. Paths in the order of their directories are cheapest. Each call throws
 * {@link FileError} where it fails as a whole.
 */
export class ManyFiles {
  readonly #library = openHelper(SYMBOLS);
  readonly #calls = this.#library.symbols;
  readonly #root: number;

  /**
   * @param root Descriptor of the depot's directory.
   * @param dir Its path, for errors.
   */
  constructor(root: number, readonly dir: string) {
    this.#root = root;
  }

  /** For each path its state, or null where it names no regular file, or the errno of a failure. */
  async stat(paths: readonly string[]): Promise<(FileStat | null | number)[]> {
    const packed = packPaths(paths);
    const out = new Uint8Array(paths.length * STAT_BYTES);
    const length = BigInt(packed.length);
    const call = this.#calls.p4many_stat(this.#root, packed, length, out, paths.length);
    const rc = await holding(call, packed, out);
    if (rc < 0) throw new FileError(-rc, "stat files of", this.dir);
    const view = new DataView(out.buffer);
    return paths.map((_, i) => {
      const stat = statAt(view, i * STAT_BYTES);
      if (stat.nlink > 0) return stat;
      return stat.size === 0 || stat.size === -ENOENT ? null : -stat.size;
    });
  }

  /** The size of each file as it is now; negative where the path names no regular file. */
  sizesNow(paths: readonly string[]): number[] {
    const packed = packPaths(paths);
    const sizes = new BigInt64Array(Math.max(1, paths.length));
    const out = new Uint8Array(sizes.buffer), length = BigInt(packed.length);
    const rc = this.#calls.p4many_sizes(this.#root, packed, length, out, paths.length);
    if (rc < 0) throw new FileError(-rc, "stat files of", this.dir);
    return paths.map((_, i) => Number(sizes[i]));
  }

  /**
   * Reads small files whole, in one call off the event loop.
   * @param maxBytes Larger files come back as "large".
   * @param roomBytes Memory for all contents; files that find no room come back as "large".
   */
  async read(
    paths: readonly string[],
    maxBytes: number,
    roomBytes: number,
  ): Promise<SmallRead[]> {
    const packed = packPaths(paths);
    const out = new Uint8Array(Math.max(1, roomBytes));
    const results = new Uint8Array(paths.length * READ_BYTES);
    const call = this.#calls.p4many_read(
      this.#root,
      packed,
      BigInt(packed.length),
      BigInt(maxBytes),
      out,
      BigInt(roomBytes),
      results,
      paths.length,
    );
    const rc = await holding(call, packed, out, results);
    if (rc < 0) throw new FileError(-rc, "read files of", this.dir);
    const view = new DataView(results.buffer);
    return paths.map((_, i): SmallRead => {
      const at = i * READ_BYTES;
      const status = view.getInt32(at, true);
      const stat = statAt(view, at + 16);
      const offset = Number(view.getBigUint64(at + 8, true));
      if (status === 0) {
        return { kind: "whole", stat, bytes: out.subarray(offset, offset + stat.size) };
      }
      if (status === 1) return { kind: "large", stat };
      if (status === 2) return { kind: "beingWritten" };
      if (status === 3) return { kind: "changed" };
      return { kind: "failed", errno: -status };
    });
  }

  close(): void {
    this.#library.close();
  }
}
