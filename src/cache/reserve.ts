/**
 * Disk space set aside for the manifest, behind the end of its data file: on a full disk the very record
 * must still be written that an eviction needs before it may free anything. Nobody else can take it, and LMDB
 * grows into it without knowing.
 *
 * Where a commit fails for want of room in spite of it, it is given back: a filesystem that writes each
 * block to a new place (btrfs) cannot use it otherwise.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import { keepRoom } from "../../ffi/room.ts";
import { pathFromText } from "../depot_path.ts";

/** Share of the filesystem, and its bounds. */
const SHARE = 1 / 1000, LEAST_BYTES = 1024 ** 2, MOST_BYTES = 64 * 1024 ** 2;

/** Free space, in reserves, at which it is taken again. */
const ROOM = 3;

/** See the module's description. */
export class Reserve {
  readonly #path: string;
  readonly #files: Pick<DepotFiles, "space">;
  readonly #bytes: number;
  /** Where the space ends, as an offset in the data file; 0: none was set aside. */
  #end = 0;

  /** @param path Absolute: the manifest's data file, which need not be there yet. */
  constructor(path: string, files: Pick<DepotFiles, "space">) {
    this.#path = path;
    this.#files = files;
    const share = Math.round(files.space().totalBytes * SHARE);
    this.#bytes = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, share));
  }

  /** Whether at least half of it is there. */
  get isHeld(): boolean {
    return this.#end > 0 && this.#end - sizeOf(this.#path) >= this.#bytes / 2;
  }

  /** Free space that is needed to take it again, bytes. */
  get neededBytes(): number {
    return ROOM * this.#bytes;
  }

  /** Takes it, where there is room; says whether it is held then. */
  hold(): boolean {
    if (this.isHeld) return true;
    if (this.#files.space().freeBytes < this.neededBytes) return false;
    try {
      this.#end = keepRoom(pathFromText(this.#path), this.#bytes) + this.#bytes;
      return true;
    } catch {
      return false; // no room after all, or read-only: tried again at the next look
    }
  }

  /** Gives it up. Call while nothing is being committed. */
  release(): void {
    if (this.#end === 0) return;
    this.#end = 0;
    try {
      keepRoom(pathFromText(this.#path), 0);
    } catch {
      // A filesystem that takes no writes, which others report.
    }
  }
}

/** Endless for a file that cannot be looked at. */
function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return Infinity;
  }
}
