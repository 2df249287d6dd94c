/**
 * Typed binding of `shim/helper/walk.h`: lists the files below a directory of the depot.
 *
 * @module
 */

import { type DepotPath, pathFromBytes } from "../src/depot_path.ts";
import { FileError } from "./file_error.ts";
import { type Bytes, cString, holding, openHelper } from "./library.ts";

const SYMBOLS = {
  p4walk_open: { parameters: ["i32", "buffer", "u32", "buffer"], result: "i32" },
  p4walk_next: { parameters: ["pointer", "buffer", "u64"], result: "i64", nonblocking: true },
  p4walk_close: { parameters: ["pointer"], result: "void" },
} as const;

/** What the walk found. */
export interface WalkRecord {
  /** "other": a symbolic link, FIFO, device or socket. */
  readonly kind: "file" | "problem" | "other" | "directory";
  readonly path: DepotPath;
  readonly size: number;
  readonly mtimeNs: bigint;
  /** When anything of the file changed last: no program can set it. */
  readonly ctimeNs: bigint;
  readonly mode: number;
  readonly nlink: number;
  /** Of a problem, else 0. */
  readonly errno: number;
}

/** A walk in progress. */
export interface Walk {
  /** What the C library knows it by. */
  readonly handle: unknown;
  /** The next of what is found, or null at the end. */
  next(): Promise<WalkRecord[] | null>;
  close(): void;
}

const KINDS = ["file", "problem", "other", "directory"] as const;
/** Of a packed record, before its path. */
export const RECORD_HEAD_BYTES = 40;
const BUFFER_BYTES = 512 * 1024;

/** Reads packed records. */
export function walkRecords(buffer: Bytes, length: number): WalkRecord[] {
  const view = new DataView(buffer.buffer, buffer.byteOffset);
  const records: WalkRecord[] = [];
  for (let at = 0; at < length; at += view.getUint32(at, true)) {
    const kind = KINDS[buffer[at + 4]! - 1]!;
    const size = Number(view.getBigInt64(at + 16, true));
    const end = at + RECORD_HEAD_BYTES + view.getUint16(at + 6, true);
    records.push({
      kind,
      path: pathFromBytes(buffer.subarray(at + RECORD_HEAD_BYTES, end)),
      size,
      mtimeNs: view.getBigInt64(at + 24, true),
      ctimeNs: view.getBigInt64(at + 32, true),
      mode: view.getUint32(at + 8, true),
      nlink: view.getUint32(at + 12, true),
      errno: kind === "problem" ? size : 0,
    });
  }
  return records;
}

/** A walk in progress; close it. */
export class DepotWalk implements Walk {
  readonly #library;
  readonly handle: Deno.PointerObject;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  private constructor(library: Deno.DynamicLibrary<typeof SYMBOLS>, handle: Deno.PointerObject) {
    this.#library = library;
    this.handle = handle;
  }

  /**
   * Begins at a directory ("" is the whole depot).
   * @param root Descriptor of the depot's directory.
   * @param directories Tells directories, each before what is below it, and nothing else.
   */
  static open(root: number, start: DepotPath, directories = false): DepotWalk {
    const library = openHelper(SYMBOLS);
    const out = new BigUint64Array(1);
    const rc = library.symbols.p4walk_open(
      root,
      cString(start),
      directories ? 1 : 0,
      new Uint8Array(out.buffer),
    );
    if (rc < 0) {
      library.close();
      throw new FileError(-rc, "walk", start);
    }
    return new DepotWalk(library, Deno.UnsafePointer.create(out[0]!)!);
  }

  /** The next files found, or null at the end. */
  async next(): Promise<WalkRecord[] | null> {
    const buffer = this.#buffer;
    const call = this.#library.symbols.p4walk_next(this.handle, buffer, BigInt(buffer.length));
    const length = Number(await holding(call, buffer));
    if (length < 0) throw new FileError(-length, "walk", "the depot");
    if (length === 0) return null;
    return walkRecords(buffer, length);
  }

  close(): void {
    this.#library.symbols.p4walk_close(this.handle);
    this.#library.close();
  }
}
