/**
 * Typed binding of `shim/helper/evict.h`: the kernel's side of lossless eviction.
 *
 * @module
 */

import { cString, holding, openHelper } from "./library.ts";
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
const HEAD_BYTES = 38;

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

/** One batch on its way through the protocol: {@link begin}, {@link check}, {@link finish}. */
export class EvictionBatch {
  readonly #library;
  readonly #handle: Deno.PointerObject;
  readonly #results: Int32Array<ArrayBuffer>;

  private constructor(
    library: Deno.DynamicLibrary<typeof SYMBOLS>,
    handle: Deno.PointerObject,
    results: Int32Array<ArrayBuffer>,
  ) {
    this.#library = library;
    this.#handle = handle;
    this.#results = results;
  }

  /**
   * Leases each file and moves it into the trash directory.
   * @param root Descriptor of the depot's directory.
   */
  static async begin(
    root: number,
    trashDir: string,
    candidates: readonly EvictionCandidate[],
  ): Promise<EvictionBatch> {
    const library = openHelper(SYMBOLS);
    let length = 0;
    for (const candidate of candidates) length += HEAD_BYTES + candidate.path.length;
    const packed = new Uint8Array(length);
    const view = new DataView(packed.buffer);
    let at = 0;
    for (const { path, trashId, size, mtimeNs, mode, doubtedFromNs } of candidates) {
      view.setBigUint64(at, BigInt(trashId), true);
      view.setBigInt64(at + 8, BigInt(size), true);
      view.setBigInt64(at + 16, mtimeNs, true);
      view.setUint32(at + 24, mode, true);
      view.setBigInt64(at + 28, doubtedFromNs ?? NEVER_NS, true);
      view.setUint16(at + 36, path.length, true);
      at += HEAD_BYTES;
      for (let i = 0; i < path.length; i++) packed[at++] = path.charCodeAt(i);
    }
    const results = new Int32Array(candidates.length);
    const out = new BigUint64Array(1);
    const trash = cString(trashDir);
    const call = library.symbols.p4evict_begin(
      root,
      trash,
      packed,
      BigInt(length),
      new Uint8Array(results.buffer),
      candidates.length,
      new Uint8Array(out.buffer),
    );
    const rc = await holding(call, trash, packed, results, out);
    if (rc < 0) {
      library.close();
      throw new FileError(-rc, "open", trashDir);
    }
    return new EvictionBatch(library, Deno.UnsafePointer.create(out[0]!)!, results);
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
    this.#library.close();
    return this.outcomes;
  }
}
