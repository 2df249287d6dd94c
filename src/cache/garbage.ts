/**
 * Removes the objects of files that p4d deleted, when their grace is over and the policy asks for it.
 *
 * Only a tombstone makes an object garbage: eviction leaves none, and the secondary is never touched. The
 * tombstone stays, so that neither the secondary's copy nor a late upload brings the file back.
 *
 * Interleavings, and why none removes a wanted object (P1; tests/cache/garbage_test.ts forces them)
 *   1. A file was written at the path: its record clears the tombstone. Looked at in the same turn in
 *      which the path is marked as busy.
 *   2. A file was written and its event is still on its way: the path is looked at on disk.
 *   3. A file is written while the object is being removed: its upload waits until that is over.
 *   4. The removal times out and takes effect later, over the new file's object: the path is noted as
 *      unsettled, and its file is not evicted before its object was looked at.
 *   5. An upload of the deleted file is still in flight, or its outcome is unknown: the removal waits,
 *      or it could come before the upload's object.
 *   6. Its directory was renamed, and objects are still being copied from it, or that may be found yet:
 *      removals wait.
 *   7. A crash after the removal and before its record: it is removed again.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { isRegular } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import type { Backend } from "../storage/backend.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Unsettled } from "./unsettled.ts";

/** What happens to the objects of deleted files. */
export type DeletePolicy = "keep" | "tombstone";

/** Longest time between two rounds, ms. */
const ROUND_MS = 600_000;

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** Removals in flight at once. */
const AT_ONCE = 8;

/** Parts the collector works on, and its rules. */
export interface GarbageParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly unsettled: Unsettled;
  readonly backend: Backend;
  /** Whether objects may be changed at all at the moment. */
  readonly mayWrite: () => boolean;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  readonly policy: DeletePolicy;
  readonly graceSeconds: number;
  /** Whether objects of renamed directories are still being copied, or may have to be. */
  readonly isCopying: () => boolean;
  /** Called when an upload may have waited for a removal. */
  readonly onFreed: (path: DepotPath) => void;
  readonly onRemoved: () => void;
}

/** A deleted file whose object is due. */
export interface DueObject {
  readonly path: DepotPath;
  readonly deletedAtSeconds: number;
  /** See {@link Tombstone}. */
  readonly order: number;
}

/** How a round went. */
export interface GarbageResult {
  removed: number;
  /** Due, but something is still going on with the path: taken in a later round. */
  waiting: number;
  failed: number;
}

/** See the module's description. */
export class GarbageCollector {
  readonly #parts: GarbageParts;
  readonly #abort = new AbortController();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  #timer: number | null = null;
  #round: Promise<GarbageResult> | null = null;

  constructor(parts: GarbageParts) {
    this.#parts = parts;
  }

  /** Removes what is due now and then, where the policy asks for it. */
  start(): void {
    const { policy, graceSeconds } = this.#parts;
    if (policy !== "tombstone") return;
    const everyMs = Math.min(ROUND_MS, Math.max(1000, graceSeconds * 1000));
    this.#timer = setInterval(() => void this.collect(), everyMs);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#abort.abort();
    await this.#round;
  }

  /** Deleted files whose objects are due now, in order of their names; none under the policy "keep". */
  async *due(): AsyncGenerator<DueObject> {
    const { manifest, policy, graceSeconds, nowSeconds } = this.#parts;
    if (policy !== "tombstone") return;
    await manifest.commit();
    for (let after = "";;) {
      const page = await manifest.tombstonesAfter(after);
      if (page.length === 0) return;
      for (const { path, tombstone: { collected, deletedAtSeconds, order } } of page) {
        if (collected || nowSeconds() - deletedAtSeconds < graceSeconds) continue;
        yield { path, deletedAtSeconds, order };
      }
      after = page.at(-1)!.path;
    }
  }

  /** Removes the objects that are due; one round at a time. Never throws. */
  collect(onRemoved: (object: DueObject) => void = () => {}): Promise<GarbageResult> {
    this.#round ??= this.#collect(onRemoved).finally(() => this.#round = null);
    return this.#round;
  }

  async #collect(onRemoved: (object: DueObject) => void): Promise<GarbageResult> {
    const { log } = this.#parts;
    const result: GarbageResult = { removed: 0, waiting: 0, failed: 0 };
    const removals = new Set<Promise<void>>();
    try {
      for await (const object of this.due()) {
        if (this.#abort.signal.aborted || !this.#parts.mayWrite()) break;
        const removal = this.#remove(object, result, onRemoved)
          .finally(() => removals.delete(removal));
        removals.add(removal);
        if (removals.size >= AT_ONCE) await Promise.race(removals);
      }
    } catch (error) {
      log.error(`Cannot read the list of deleted files: ${describeError(error)}`);
    }
    await Promise.all(removals);
    if (result.removed > 0) log.info(`Removed the objects of ${result.removed} deleted files`);
    return result;
  }

  /** Removes one object, unless the path is wanted or busy. Never throws. */
  async #remove(
    object: DueObject,
    result: GarbageResult,
    onRemoved: (object: DueObject) => void,
  ): Promise<void> {
    const { path, deletedAtSeconds, order } = object;
    const { manifest, activity, backend, log, onFreed } = this.#parts;
    try {
      if (!this.#mayRemove(path)) {
        result.waiting++;
        return;
      }
      activity.objects.add(path);
      try {
        await backend.delete(path, this.#abort.signal);
        // A file written meanwhile has cleared it.
        if (manifest.isTombstoned(path)) {
          manifest.setTombstone(path, { deletedAtSeconds, collected: true, order });
        }
      } finally {
        activity.objects.delete(path);
        onFreed(path);
      }
      result.removed++;
      this.#parts.onRemoved();
      onRemoved(object);
    } catch (error) {
      result.failed++;
      if (this.#abort.signal.aborted) return;
      const line = this.#limited("Cannot remove the object of a deleted file, will be tried again");
      if (line !== null) log.warning(`${line}: ${displayPath(path)}: ${describeError(error)}`);
    }
  }

  /** Nothing is at the path, and nothing is going on with it. */
  #mayRemove(path: DepotPath): boolean {
    const { manifest, activity, files, unsettled, isCopying } = this.#parts;
    if (!manifest.isTombstoned(path) || manifest.get(path) !== null) return false;
    if (activity.uploads.has(path) || activity.restores.has(path)) return false;
    if (activity.evictions.has(path) || activity.objects.has(path)) return false;
    if (unsettled.has(path) || isCopying()) return false;
    // A file there may be one of another directory, which came with a rename that nobody told yet: its event
    // says so, in its turn.
    const there = files.stat(path);
    return there === null || !isRegular(there);
  }
}
