/**
 * Takes in what happened to depot files, from the watcher and from walks, and records it.
 *
 * Keeps P1: every change of a file ends as a dirty row before the file can be evicted, because the
 * evictor waits until every event before its lease has passed through here.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { DepotFiles } from "../../ffi/files.ts";
import type { FoundFiles } from "../../ffi/found_files.ts";
import type { Watcher, WatchRecord } from "../../ffi/watch.ts";
import type { Logger } from "@logtape/logtape";
import type { ChangeWatch } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { seen } from "../manifest/transitions.ts";
import type { EventFeed } from "../observe/event_feed.ts";
import type { Metrics } from "../observe/metrics.ts";
import { describeError } from "../observe/logging.ts";
import type { Activity } from "./activity.ts";
import { isNeverStored } from "./exclusion.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { DirectoryIdentities } from "./directory_identities.ts";
import type { DirectoryRenames } from "./directory_renames.ts";
import type { MovedFiles } from "./moved_files.ts";
import type { Scanner } from "./scanner.ts";

/** Staged changes above which the intake waits for the manifest: bounds memory (P5). */
const MAX_PENDING = 50_000;

/** Wait before events are read again after a failure, ms. */
const READ_RETRY_MS = 1000;

/** Where the intake sends what it learns. */
export interface IntakeParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly renames: DirectoryRenames;
  readonly moved: MovedFiles;
  readonly identities: Pick<DirectoryIdentities, "comes" | "deleted" | "displaced" | "gone">;
  readonly isExcluded: (path: string) => boolean;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly log: Logger;
  /** Called when a file became dirty. */
  readonly onDirty: (path: DepotPath) => void;
  /** The same for a file that a walk found. */
  readonly onFound: () => void;
  readonly nowSeconds: () => number;
}

/** See the module's description. */
export class Intake {
  readonly #parts: IntakeParts;
  readonly #barriers = new Map<number, () => void>();
  #nextBarrier = 1;
  #watcher: Watcher | null = null;
  /** As the watcher said when it was stopped. */
  #toldUntilNs = 0n;
  /** Events taken in, or being taken in. */
  #taken = 0;
  /** The rename that is being taken in. */
  #renaming: Promise<void> = Promise.resolve();
  /** The barrier on its way, and the one that everybody who asked since waits for. */
  #passed: Promise<void> | null = null;
  #nextPassed: Promise<void> | null = null;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** How many events were taken in. */
  get taken(): number {
    return this.#taken;
  }

  /** Before when everything that happened was taken in, ns since the epoch; 0: not known. */
  get toldUntilNs(): bigint {
    return this.#watcher?.toldUntilNs() ?? this.#toldUntilNs;
  }

  /**
   * The file exists at the path and was, or may have been, written.
   * @param isReplaced Whether another file was renamed to the path.
   */
  changed(path: DepotPath, size: number, isReplaced = false): void {
    const { manifest, activity, moved, identities, isExcluded, onDirty, nowSeconds } = this.#parts;
    if (isExcluded(path)) return;
    activity.touch(path, false, isReplaced);
    moved.forget(path);
    identities.comes(path);
    manifest.set(path, seen(manifest.get(path), size, nowSeconds()));
    onDirty(path);
  }

  /** A walk found a file at a path of which nothing is known ({@link Manifest.areNew}). */
  found(path: DepotPath, size: number): void {
    const { manifest, activity, moved, onFound, nowSeconds } = this.#parts;
    activity.touch(path);
    moved.forget(path);
    manifest.add(path, seen(null, size, nowSeconds()));
    onFound();
  }

  /**
   * The same for all that a step of a walk found together.
   * @param since Begun before that step.
   * @returns False, and nothing is recorded, when each of them has to be looked at.
   */
  foundTogether(found: FoundFiles, since: ChangeWatch): boolean {
    const { manifest, activity, moved, onFound, nowSeconds } = this.#parts;
    if (moved.any || activity.isAny((path) => found.sizeOf(path) !== null)) return false;
    if (!manifest.addFound(found, since, nowSeconds())) return false;
    onFound();
    return true;
  }

  /**
   * Nothing is at the path any more, and it was not us who took it away.
   * @param isRemoved Whether p4d surely removed a file there; a late close of one that had been replaced
   * before looks the same while its successor is being evicted.
   * @param isTold Whether an event told of the very file.
   */
  gone(path: DepotPath, isRemoved = false, isTold = true): void {
    const { manifest, activity, isExcluded } = this.#parts;
    if (isExcluded(path)) return;
    activity.touch(path, isRemoved);
    // The eviction in flight has the file in the trash, and records what becomes of the path.
    if (activity.evictions.has(path)) return;
    // Without a row nothing of ours need be gone: a program may have closed a file that had been
    // replaced before, and its successor may be evicted by now.
    if (!isRemoved && manifest.get(path) === null) return;
    this.#bury(path, isTold);
  }

  /** p4d removed the file, as the shim says; it may have been evicted, so that no event tells. */
  removed(path: DepotPath): void {
    const { activity, files } = this.#parts;
    if (isNeverStored(path) || files.stat(path) !== null || activity.evictions.has(path)) return;
    activity.touch(path);
    this.#bury(path, true);
  }

  /** From now on the path is not found, though its object may be there. */
  #bury(path: DepotPath, isTold: boolean): void {
    const { manifest, moved, identities, nowSeconds } = this.#parts;
    moved.forget(path);
    manifest.set(path, null);
    manifest.setTombstone(path, { deletedAtSeconds: nowSeconds(), collected: false });
    if (isTold) identities.deleted(path);
  }

  /**
   * A directory was renamed within the depot, with all below. Renames are taken in one after another.
   * @param isStill Of one that was found by a search. Asked when it is its turn: whether what is known of
   * it still holds.
   * @returns Whether it was taken in.
   */
  renamed(
    from: DepotPath,
    to: DepotPath,
    isStill: (() => boolean) | null = null,
  ): Promise<boolean> {
    const { renames, identities, log } = this.#parts;
    const taken = this.#renaming.then(async () => {
      if (isStill?.() === false) return false;
      const place = await identities.displaced(to);
      if (place === null) {
        // What went from there unseen did so before this rename, and is no newer file at the new path.
        await this.#buryBelow(to);
      } else {
        log.warning(
          `${
            displayPath(to)
          } is another directory than it was: what is stored of the one before goes to ` +
            `${place}/, unless that is found again`,
        );
        await renames.begin(to, place, isStill !== null);
      }
      await renames.begin(from, to, isStill !== null);
      renames.start();
      return true;
    });
    this.#renaming = taken.then(() => {}, () => {});
    return taken;
  }

  /** A directory left, with all below. */
  async treeGone(dir: DepotPath): Promise<void> {
    await this.#parts.identities.gone(dir);
    await this.#buryBelow(dir);
  }

  /** Every tracked file below the directory that is not there now is gone. */
  async #buryBelow(dir: DepotPath): Promise<void> {
    const { manifest, files } = this.#parts;
    const prefix = dir + "/";
    await manifest.commit();
    for (let after: string = prefix;;) {
      const page = await manifest.pathsAfter(after);
      const below = page.filter((path) => path.startsWith(prefix));
      const stats = await files.statMany(below);
      // Another directory may have come to the path since, with files of the same names.
      for (const [i, path] of below.entries()) {
        if (stats[i] === null) this.gone(path, false, false);
      }
      if (below.length === 0 || below.length < page.length) return;
      after = below.at(-1)!;
    }
  }

  /**
   * Reads the watcher until it is stopped.
   * @param scanner Walks directories that appeared, and everything when events were lost.
   */
  async run(watcher: Watcher, scanner: Scanner): Promise<void> {
    const { manifest, log, metrics } = this.#parts;
    this.#watcher = watcher;
    for (;;) {
      const records = await this.#next(watcher, scanner);
      if (records.length === 0) break;
      for (const record of records) {
        if (record.kind !== "barrier") this.#taken++;
        try {
          await this.#take(record, scanner);
        } catch (error) {
          metrics.watcherEvent("error", 1);
          const path = displayPath(record.path);
          log.error(`Cannot record the event '${record.kind}' of ${path}: ${describeError(error)}`);
          scanner.requestReconcile("an event could not be recorded");
        }
      }
      if (manifest.pending > MAX_PENDING) await manifest.commit();
    }
    this.#toldUntilNs = watcher.toldUntilNs();
    this.#watcher = null;
    for (const passed of this.#barriers.values()) passed();
  }

  /** Reading may fail for want of memory or descriptors: events wait in the kernel meanwhile. */
  async #next(watcher: Watcher, scanner: Scanner): Promise<WatchRecord[]> {
    for (;;) {
      try {
        return await watcher.next();
      } catch (error) {
        this.#parts.metrics.watcherEvent("error", 1);
        scanner.requestReconcile(describeError(error));
        await delay(READ_RETRY_MS);
      }
    }
  }

  #take(record: WatchRecord, scanner: Scanner): Promise<unknown> | void {
    const { metrics, feed } = this.#parts;
    switch (record.kind) {
      case "changed":
        metrics.watcherEvent("write", 1);
        feed.note("written", record.path, { bytes: record.size });
        return this.changed(record.path, record.size, record.id === 1);
      case "gone":
        feed.note("gone", record.path);
        return this.gone(record.path, record.size === 1);
      case "renamed":
        return this.renamed(record.path, record.to!);
      case "tree":
        return scanner.requestTree(record.path);
      case "treeGone":
        return this.treeGone(record.path);
      case "reconcile":
        metrics.watcherEvent("error", 1);
        metrics.watcherOverflow();
        return scanner.requestReconcile("the kernel dropped events");
      case "barrier":
        this.#barriers.get(record.id)?.();
        this.#barriers.delete(record.id);
    }
  }

  /** Resolves when every event that happened before this call has been taken in. */
  barrier(): Promise<void> {
    // Mostly so, and then nobody has to be woken: that takes longer than all else that a miss does here.
    if (this.#watcher === null || this.#watcher.isQuiet()) return Promise.resolve();
    // One on its way does not count: events may have come after it was asked for.
    this.#nextPassed ??= (async () => {
      await this.#passed?.catch(() => {});
      this.#passed = this.#nextPassed;
      this.#nextPassed = null;
      await this.#sendBarrier();
    })();
    return this.#nextPassed;
  }

  #sendBarrier(): Promise<void> {
    const watcher = this.#watcher;
    // Stopped while an earlier one was waited for.
    if (watcher === null) return Promise.resolve();
    const id = this.#nextBarrier++;
    return new Promise((resolve) => {
      this.#barriers.set(id, resolve);
      watcher.barrier(id);
    });
  }
}
