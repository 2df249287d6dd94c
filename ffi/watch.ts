/**
 * Typed binding of `shim/helper/watch.h`: what happened to the depot's files.
 *
 * @module
 */

import { type DepotPath, pathFromBytes } from "../src/depot_path.ts";
import { cString, holding, openHelper } from "./library.ts";

const SYMBOLS = {
  p4watch_open: { parameters: ["buffer", "buffer", "buffer", "u32"], result: "i32" },
  p4watch_next: { parameters: ["pointer", "buffer", "u64"], result: "i64", nonblocking: true },
  p4watch_barrier: { parameters: ["pointer", "u64"], result: "i32" },
  p4watch_is_quiet: { parameters: ["pointer"], result: "i32" },
  p4watch_told_until: { parameters: ["pointer"], result: "i64" },
  p4watch_stop: { parameters: ["pointer"], result: "void" },
  p4watch_close: { parameters: ["pointer"], result: "void" },
} as const;

/** One thing that happened; see watch.h for what each kind promises. */
export interface WatchRecord {
  readonly kind: "changed" | "gone" | "tree" | "treeGone" | "reconcile" | "barrier" | "renamed";
  /** Of "renamed" the old one. Empty for "reconcile" and "barrier". */
  readonly path: DepotPath;
  /** New path of a renamed directory. */
  readonly to?: DepotPath;
  /** Of a changed file, bytes. Of "gone" 1 when a file was removed, see watch.h. */
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly mode: number;
  /** Of a barrier. Of a changed file 1 when one was renamed to the path, over what was there. */
  readonly id: number;
}

/** Why watching is not possible: one line for people. */
class WatchError extends Error {
  override readonly name = "WatchError";
  constructor(readonly errno: number, message: string) {
    super(message);
  }
}

const KINDS = ["changed", "gone", "tree", "treeGone", "reconcile", "barrier", "renamed"] as const;
const HEAD_BYTES = 40;
const BUFFER_BYTES = 512 * 1024;

/** A running watch; {@link stop} it, then {@link close} it. */
export class Watcher {
  readonly #library;
  readonly #handle: Deno.PointerObject;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  private constructor(
    library: Deno.DynamicLibrary<typeof SYMBOLS>,
    handle: Deno.PointerObject,
    /** How it watches, for people. */
    readonly mode: string,
  ) {
    this.#library = library;
    this.#handle = handle;
  }

  /**
   * Starts watching; events from now on are kept until they are read.
   * @param depotDir Absolute and canonical, one character per byte.
   * @throws WatchError
   */
  static open(depotDir: string): Watcher {
    const library = openHelper(SYMBOLS);
    const out = new BigUint64Array(1);
    const text = new Uint8Array(512);
    const rc = library.symbols.p4watch_open(
      cString(depotDir),
      new Uint8Array(out.buffer),
      text,
      text.length,
    );
    const line = new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
    if (rc < 0) {
      library.close();
      throw new WatchError(-rc, line);
    }
    return new Watcher(library, Deno.UnsafePointer.create(out[0]!)!, line);
  }

  /** Waits for the next records; none after {@link stop}. */
  async next(): Promise<WatchRecord[]> {
    const buffer = this.#buffer;
    const call = this.#library.symbols.p4watch_next(this.#handle, buffer, BigInt(buffer.length));
    const length = Number(await holding(call, buffer));
    if (length < 0) throw new WatchError(-length, `Cannot read events: errno ${-length}`);
    const view = new DataView(buffer.buffer);
    const records: WatchRecord[] = [];
    for (let at = 0; at < length; at += view.getUint32(at, true)) {
      const end = at + HEAD_BYTES + view.getUint16(at + 6, true);
      const kind = KINDS[buffer[at + 4]! - 1]!;
      const path = pathFromBytes(buffer.subarray(at + HEAD_BYTES, end));
      const oldEnd = kind === "renamed" ? path.indexOf("\0") : path.length;
      records.push({
        kind,
        path: path.slice(0, oldEnd) as DepotPath,
        ...(kind === "renamed" ? { to: path.slice(oldEnd + 1) as DepotPath } : {}),
        size: Number(view.getBigInt64(at + 16, true)),
        mtimeNs: view.getBigInt64(at + 24, true),
        mode: view.getUint32(at + 8, true),
        id: Number(view.getBigUint64(at + 32, true)),
      });
    }
    return records;
  }

  /** Asks for a "barrier" record after everything that has happened so far. */
  barrier(id: number): void {
    const rc = this.#library.symbols.p4watch_barrier(this.#handle, BigInt(id));
    if (rc < 0) throw new WatchError(-rc, "Cannot ask for a barrier: too many are waiting");
  }

  /** Whether all that has happened so far was told, and {@link next} has been called again since. */
  isQuiet(): boolean {
    return this.#library.symbols.p4watch_is_quiet(this.#handle) === 1;
  }

  /**
   * A time, ns since the epoch, before which everything that happened was told, and {@link next} has been
   * called again since; 0 when none is known yet.
   */
  toldUntilNs(): bigint {
    return this.#library.symbols.p4watch_told_until(this.#handle);
  }

  /** Ends the wait in {@link next}. */
  stop(): void {
    this.#library.symbols.p4watch_stop(this.#handle);
  }

  /** Frees the watch; {@link next} is not running. */
  close(): void {
    this.#library.symbols.p4watch_close(this.#handle);
    this.#library.close();
  }
}
