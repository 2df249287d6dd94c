/**
 * Typed binding of `shim/helper/evict.h`: the kernel's side of lossless eviction.
 *
 * @module
 */

import { type Bytes, cString, holding, openHelper } from "./library.ts";
import { FileError } from "./file_error.ts";

const SYMBOLS = {
  p4evict_begin: {
    parameters: ["i32", "buffer", "buffer", "u64", "buffer", "u32", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  p4evict_check: { parameters: ["pointer", "buffer"], result: "i32", nonblocking: true },
  p4evict_finish: { parameters: ["pointer", "buffer", "buffer"], result: "i32", nonblocking: true },
} as const;

/** One file to evict: the version that was uploaded, and its name in the trash. */
export interface EvictionCandidate {
  readonly path: string;
  readonly trashId: number;
  readonly size: number;
  readonly mtimeNs: bigint;
  /** Permission bits. */
  readonly mode: number;
  /** A file of which anything changed since (ctime, ns) may be another version; null: none. */
  readonly doubtedFromNs: bigint | null;
  /** What its directory is: from another one at that path nothing is taken. Null: not known. */
  readonly directory: string | null;
}

/** How it went with one file. */
export type EvictionOutcome =
  | "taken"
  | "in_use"
  | "changed"
  | "linked"
  | "gone"
  | "denied"
  | "conflict"
  | "doubtful"
  | "failed";

/** Of one packed candidate, before its path. */
const HEAD_BYTES = 40;

/** No time is after it. */
const NEVER_NS = 0x7fff_ffff_ffff_ffffn;

const OUTCOMES: readonly EvictionOutcome[] = [
  "taken",
  "in_use",
  "changed",
  "linked",
  "gone",
  "denied",
  "conflict",
  "doubtful",
];

function outcomes(results: Int32Array): EvictionOutcome[] {
  return Array.from(results, (code) => OUTCOMES[code] ?? "failed");
}

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

function pack(candidates: readonly EvictionCandidate[]): Bytes {
  let length = 0;
  for (const { path, directory } of candidates) {
    length += HEAD_BYTES + path.length + (directory?.length ?? 0);
  }
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const { path, trashId, size, mtimeNs, mode, doubtedFromNs, directory } of candidates) {
    const identity = directory ?? "";
    view.setBigUint64(at, BigInt(trashId), true);
    view.setBigInt64(at + 8, BigInt(size), true);
    view.setBigInt64(at + 16, mtimeNs, true);
    view.setUint32(at + 24, mode, true);
    view.setBigInt64(at + 28, doubtedFromNs ?? NEVER_NS, true);
    view.setUint16(at + 36, path.length, true);
    view.setUint16(at + 38, identity.length, true);
    at += HEAD_BYTES;
    for (let i = 0; i < path.length; i++) packed[at++] = path.charCodeAt(i);
    for (let i = 0; i < identity.length; i++) packed[at++] = identity.charCodeAt(i);
  }
  return packed;
}

/** Begins evictions in one depot. */
export class Evictions {
  readonly #library: Library = openHelper(SYMBOLS);
  readonly #root: number;

  /** @param root Descriptor of the depot's directory. */
  constructor(root: number) {
    this.#root = root;
  }

  close(): void {
    this.#library.close();
  }

  /**
   * Leases each file and moves it into the trash directory.
   * @throws FileError when the trash cannot be opened.
   */
  async begin(
    trashDir: string,
    candidates: readonly EvictionCandidate[],
  ): Promise<EvictionBatch> {
    const packed = pack(candidates);
    const results = new Int32Array(candidates.length);
    const out = new BigUint64Array(1);
    const trash = cString(trashDir);
    const call = this.#library.symbols.p4evict_begin(
      this.#root,
      trash,
      packed,
      BigInt(packed.length),
      new Uint8Array(results.buffer),
      candidates.length,
      new Uint8Array(out.buffer),
    );
    const rc = await holding(call, trash, packed, results, out);
    if (rc < 0) throw new FileError(-rc, "open", trashDir);
    return new EvictionBatch(this.#library, Deno.UnsafePointer.create(out[0]!)!, results);
  }
}

/** One batch on its way through the protocol: {@link Evictions.begin}, {@link check}, {@link finish}. */
export class EvictionBatch {
  readonly #library: Library;
  readonly #handle: Deno.PointerObject;
  readonly #results: Int32Array<ArrayBuffer>;

  constructor(
    library: Library,
    handle: Deno.PointerObject,
    results: Int32Array<ArrayBuffer>,
  ) {
    this.#library = library;
    this.#handle = handle;
    this.#results = results;
  }

  /** Outcome of each candidate so far. */
  get outcomes(): EvictionOutcome[] {
    return outcomes(this.#results);
  }

  /** After the grace: whose lease was broken, whose content changed. */
  async check(): Promise<EvictionOutcome[]> {
    const call = this.#library.symbols.p4evict_check(
      this.#handle,
      new Uint8Array(this.#results.buffer),
    );
    await holding(call, this.#results);
    return this.outcomes;
  }

  /** Unlinks those marked, puts the others back where they were, and ends the batch. */
  async finish(letGo: readonly boolean[]): Promise<EvictionOutcome[]> {
    const flags = Uint8Array.from(letGo, (go) => go ? 1 : 0);
    const call = this.#library.symbols.p4evict_finish(
      this.#handle,
      flags,
      new Uint8Array(this.#results.buffer),
    );
    await holding(call, flags, this.#results);
    return this.outcomes;
  }
}
