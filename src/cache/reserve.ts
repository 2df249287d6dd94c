/**
 * Disk space set aside for the manifest. On a full disk LMDB may be unable to write the very record that
 * an eviction needs before it may free anything; then the reserve is given up, and taken again when
 * there is room.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";

/** Share of the filesystem, and its bounds. */
const SHARE = 1 / 1000, LEAST_BYTES = 1024 ** 2, MOST_BYTES = 64 * 1024 ** 2;

/** Written at once: fresh memory for all of it would take longer than the writing. */
const PIECE_BYTES = 1024 ** 2;

/** Free space, in reserves, at which it is taken again. */
const ROOM = 3;

/** See the module's description. */
export class Reserve {
  readonly #path: string;
  readonly #files: Pick<DepotFiles, "space">;
  readonly #bytes: number;
  #isHeld = false;

  /** @param path Absolute; on the depot's filesystem. One that an earlier daemon left is taken over. */
  constructor(path: string, files: Pick<DepotFiles, "space">) {
    this.#path = path;
    this.#files = files;
    const share = Math.round(files.space().totalBytes * SHARE);
    this.#bytes = Math.min(MOST_BYTES, Math.max(LEAST_BYTES, share));
    this.#isHeld = hasRoom(path, this.#bytes);
    if (!this.#isHeld) remove(path);
    this.hold();
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Free space that is needed to take it again, bytes. */
  get neededBytes(): number {
    return ROOM * this.#bytes;
  }

  /** Takes it, where there is room; says whether it is held then. */
  hold(): boolean {
    if (this.#isHeld) return true;
    if (this.#files.space().freeBytes < this.neededBytes) return false;
    try {
      fill(this.#path, this.#bytes);
      this.#isHeld = true;
    } catch {
      remove(this.#path); // no room after all, or read-only: tried again at the next look
    }
    return this.#isHeld;
  }

  /** Gives it up. */
  release(): void {
    if (this.#isHeld) remove(this.#path);
    this.#isHeld = false;
  }
}

/** Written: a hole takes no room, and what fallocate(2) took XFS does not always give back at once. */
function fill(path: string, bytes: number): void {
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  const piece = new Uint8Array(PIECE_BYTES);
  for (let left = bytes; left > 0;) left -= file.writeSync(piece.subarray(0, left));
}

function hasRoom(path: string, bytes: number): boolean {
  try {
    const { size, blocks } = Deno.statSync(path);
    return size === bytes && blocks !== null && blocks * 512 >= bytes;
  } catch {
    return false;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // None there; or a filesystem that takes no writes, which others report.
  }
}
