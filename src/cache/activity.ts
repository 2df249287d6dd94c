/**
 * What is being done to which path right now. The parts of the engine meet here, and only here:
 * uploads learn that their file changed, evictions that theirs was touched, restores that the file
 * they want is on its way out.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";

/** An upload in flight. `changed` is the path's generation: any event since the open raises it. */
export interface Upload {
  changed: boolean;
}

/** An eviction in flight. */
export interface Eviction {
  /** An event came for the path: the file goes back. */
  touched: boolean;
  /** Unless the last one was that a newer file there was removed: then nothing belongs there. */
  isGone: boolean;
  /** Somebody renamed a newer file to the path: without us the evicted one would be no more. */
  isReplaced: boolean;
  /** Where the file goes back to: its directory may have been renamed since. */
  path: DepotPath;
  /** What the filesystem calls that directory; null where it does not say. */
  readonly directory: string | null;
  /** Its name in the trash, as long as the manifest says that it goes back. */
  trashId: number | null;
  /** Resolves when the file is gone or back. */
  readonly done: Promise<void>;
}

/** Paths with something in flight. */
export class Activity {
  readonly uploads = new Map<string, Upload>();
  /** By where each file goes back to. */
  readonly evictions = new Map<string, Eviction>();
  readonly restores = new Map<string, Promise<unknown>>();
  /** Objects being removed or written by something other than an upload: no upload begins meanwhile. */
  readonly objects = new Set<string>();

  /**
   * Notes that something happened to the path.
   * @param isGone Whether p4d took away what was there.
   * @param isReplaced Whether it renamed another file over it.
   */
  touch(path: string, isGone = false, isReplaced = false): void {
    const upload = this.uploads.get(path);
    if (upload !== undefined) upload.changed = true;
    const eviction = this.evictions.get(path);
    if (eviction === undefined) return;
    eviction.touched = true;
    eviction.isGone = isGone;
    eviction.isReplaced ||= isReplaced;
  }

  /** Whether something is in flight for a path of which this is true. */
  isAny(isMeant: (path: string) => boolean): boolean {
    return [this.uploads, this.evictions, this.restores, this.objects].some((paths) =>
      paths.keys().some(isMeant)
    );
  }

  /** The directory of a file that is being evicted was renamed: what happens at its old path is another's. */
  moveEviction(eviction: Eviction, to: DepotPath): void {
    this.endEviction(eviction);
    eviction.touched = true;
    eviction.path = to;
    // An earlier one keeps the name: as far as anybody knows, its file was there first.
    if (!this.evictions.has(to)) this.evictions.set(to, eviction);
  }

  /** The file is gone or back. */
  endEviction(eviction: Eviction): void {
    if (this.evictions.get(eviction.path) === eviction) this.evictions.delete(eviction.path);
  }

  /** Notes that something may have happened to any path. */
  touchAll(): void {
    for (const upload of this.uploads.values()) upload.changed = true;
    for (const eviction of this.evictions.values()) eviction.touched = true;
  }
}
