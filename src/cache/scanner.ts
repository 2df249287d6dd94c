/**
 * Compares the depot on disk with the manifest: at start, after lost events, for directories that
 * appeared, and now and then as a backstop.
 *
 * - A file the manifest does not know, or that is not the version it says is uploaded → dirty.
 * - A row of a path that is excluded by now → dropped: such a file stays where it is.
 * - A row whose file is not there → dropped, without a tombstone: nobody saw p4d delete it, so its
 *   object still stands for it (P3).
 * - A file that may have changed when nobody could see it (`unseen_changes.ts`) → dirty, whatever it looks
 *   like.
 *
 * A walk is read by several threads, each of which tells other directories (`shim/helper/walk.h`). What they
 * found is taken in one step after another, in any order: each step knows what happened since it was begun.
 *
 * New files are recorded a step of the walk at a time, by the C library (`found_files.ts`), where nothing
 * else happened since the walk looked at them:
 *
 *   an event came, a record was forgotten    a file may be gone since: each is looked at again
 *   a path of the step changed, or is about  another record may be on its way: each is looked at again
 *   something is in flight for a path        who does it must learn of the file: each is told
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { DepotFiles } from "../../ffi/files.ts";
import type { FoundFiles } from "../../ffi/found_files.ts";
import type { Doubt, WalkStep } from "../../ffi/kv.ts";
import type { WalkRecord } from "../../ffi/walk.ts";
import type { Logger } from "@logtape/logtape";
import { counted } from "../counted.ts";
import type { ChangeWatch } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { isVersion } from "../manifest/transitions.ts";
import { CLEAN } from "../manifest/schema.ts";
import type { EngineMetrics } from "../observe/engine_metrics.ts";
import type { Health } from "../observe/health.ts";
import { describeError } from "../observe/logging.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Intake } from "./intake.ts";
import type { UnseenChanges } from "./unseen_changes.ts";

/** Staged changes above which a walk waits for the manifest (P5). */
const MAX_PENDING = 100_000;

/** Steps of a walk on their way at once: two are read, each on a thread, while one is taken in. */
const STEPS_AHEAD = 3;

/** Wait before a reconcile that was asked for begins: a burst of reasons becomes one walk, ms. */
const RECONCILE_DELAY_MS = 200;

/** Wait before a reconcile that failed is made again, ms. */
const RECONCILE_RETRY_MS = 10_000;

/** Rest of a paced walk after each step, in times of the step. */
const REST_PER_WORK = 3;

/** What a walk found. */
export interface ScanResult {
  files: number;
  /** Became dirty. */
  changed: number;
  /** Rows dropped. */
  dropped: number;
  problems: number;
  /** Symbolic links, FIFOs, devices and sockets: left alone. */
  others: number;
}

/** A step of a walk on its way. */
interface StepAhead {
  /** When it was begun, as the scanner tells moments apart. */
  readonly moment: string;
  readonly since: ChangeWatch;
  readonly compared: Promise<WalkStep>;
}

/** Parts the scanner works on. */
export interface ScannerParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly isExcluded: (path: string) => boolean;
  readonly intake: Intake;
  readonly unseen: Pick<UnseenChanges, "lost" | "search" | "searched" | "doubtedFromNs">;
  /**
   * A file was found that is not known.
   * @param looksKnown It looks like the version that was stored.
   */
  readonly onFound: (path: DepotPath, looksKnown: boolean) => void;
  /** Whether new files need none of that, and are excluded by no rule of the configuration. */
  readonly mayFindTogether: () => boolean;
  /** Looks for directories that were renamed while nobody watched; uploads wait for that. */
  readonly findRenames: () => void;
  readonly engineMetrics: EngineMetrics;
  readonly health: Health;
  readonly log: Logger;
}

/** See the module's description. */
export class Scanner {
  readonly #parts: ScannerParts;
  #reconcile: Promise<void> | null = null;
  #again = false;
  #toldOthers = false;
  #stopped = false;
  /** Walks for what no event told, asked for or under way. */
  #searches = 0;
  #lostEvents = false;
  /** Walks of directories that appeared, one after another. */
  #trees: Promise<void> = Promise.resolve();

  constructor(parts: ScannerParts) {
    this.#parts = parts;
  }

  /** Whether walks end before they are through. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Whether files may be there, or have changed, that no event told of and no walk came to yet. */
  get isSearching(): boolean {
    return this.#searches > 0 || this.#lostEvents;
  }

  /** Ends running walks at their next step, and waits for that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#trees, this.#reconcile]);
  }

  /**
   * Walks everything soon, because of what the reason says; repeats join a waiting walk.
   * @param isRoutine Nothing is known to be amiss: the walk takes its time.
   */
  requestReconcile(reason: string, isRoutine = false): void {
    const { log, health } = this.#parts;
    if (!isRoutine) {
      health.raise("events_lost", reason);
      this.#lostEvents = true;
      this.#parts.unseen.lost();
      // A rename may be among what was lost.
      this.#parts.findRenames();
    }
    if (this.#reconcile !== null) {
      this.#again ||= !isRoutine;
      return;
    }
    const line = `Comparing the whole depot with the manifest: ${reason}`;
    if (isRoutine) log.info(line);
    else log.warning(line);
    this.#reconcile = this.#reconcileUntilDone(isRoutine).finally(() => this.#reconcile = null);
  }

  async #reconcileUntilDone(isRoutine: boolean): Promise<void> {
    const { log, health } = this.#parts;
    for (let paced = isRoutine, waitMs = RECONCILE_DELAY_MS;;) {
      this.#again = false;
      await delay(waitMs);
      if (this.#stopped) return;
      try {
        const { files, changed, dropped } = await this.scanAll(paced);
        if (this.#stopped) return;
        log.info(
          `Compared: ${counted(files, "file")}, ${changed} to upload, ${dropped} no longer there`,
        );
        if (!this.#again) {
          this.#lostEvents = false;
          return health.clear("events_lost");
        }
        waitMs = RECONCILE_DELAY_MS;
      } catch (error) {
        log.error(`The comparison failed, and is made again: ${describeError(error)}`);
        waitMs = RECONCILE_RETRY_MS;
      }
      paced = false;
    }
  }

  /**
   * Walks the depot, then looks for rows without a file.
   * @param paced Rests between the steps, so that p4d has the disk most of the time.
   */
  async scanAll(paced = false): Promise<ScanResult> {
    const begun = performance.now();
    const { manifest, unseen } = this.#parts;
    if (!paced) this.#searches++;
    const doubt = unseen.search();
    // Rows that come meanwhile are of files that were there meanwhile, and of those events tell.
    const hasRows = manifest.counters.total > 0;
    let isThrough = false;
    try {
      // What became clean before the doubt must be seen as clean.
      if (doubt !== null) await manifest.commit();
      const result = await this.#walk("" as DepotPath, paced, doubt);
      if (this.#stopped) return result;
      isThrough = true;
      if (hasRows) await this.#dropMissing(result, paced);
      const seconds = (performance.now() - begun) / 1000;
      this.#parts.engineMetrics.reconciled({ ...result, seconds });
      return result;
    } finally {
      unseen.searched(doubt, isThrough);
      if (!paced) this.#searches--;
    }
  }

  /** Walks a directory that appeared, soon: the events after its own do not wait for that. */
  requestTree(dir: DepotPath): void {
    this.#searches++;
    this.#trees = this.#trees.then(() => this.scanTree(dir)).finally(() => {
      this.#searches--;
    }).catch((error) => {
      this.#parts.log.error(`Cannot walk ${displayPath(dir)}: ${describeError(error)}`);
      this.requestReconcile("a directory that appeared could not be walked");
    });
  }

  /** Walks one directory that appeared. */
  async scanTree(dir: DepotPath): Promise<void> {
    if (!this.#stopped && !this.#parts.isExcluded(dir + "/")) await this.#walk(dir, false, null);
  }

  /** @param doubt What is not believed of clean rows. */
  async #walk(start: DepotPath, paced: boolean, doubt: Doubt | null): Promise<ScanResult> {
    const { files, manifest } = this.#parts;
    const result: ScanResult = { files: 0, changed: 0, dropped: 0, problems: 0, others: 0 };
    const walk = files.walk(start);
    const next = (): StepAhead => {
      const moment = this.#moment(), since = manifest.watch();
      const compared = manifest.compareNext(walk, doubt);
      compared.catch(() => {}); // thrown when it is its turn
      return { moment, since, compared };
    };
    const ahead = Array.from({ length: paced ? 1 : STEPS_AHEAD }, next);
    try {
      for (let step = ahead[0]; step !== undefined; step = ahead[0]) {
        const begun = performance.now();
        const compared = await step.compared;
        if (this.#stopped) break;
        // Further steps are walked while this one is taken in.
        if (!paced && !compared.isLast) ahead.push(next());
        await this.#takeInStep(compared, step, result);
        ahead.shift();
        step.since.end();
        await manifest.settleTo(MAX_PENDING);
        if (!paced || compared.isLast) continue;
        await rest(begun);
        ahead.push(next());
      }
    } finally {
      await Promise.allSettled(ahead.map(({ compared }) => compared));
      for (const { since } of ahead) since.end();
      walk.close();
    }
    return result;
  }

  async #takeInStep(
    { known, records, found }: WalkStep,
    { moment, since }: StepAhead,
    result: ScanResult,
  ): Promise<void> {
    const { isExcluded, intake, log } = this.#parts;
    result.files += known + found.count;
    const unknown: WalkRecord[] = [];
    for (const record of records) {
      if (record.kind === "problem") {
        result.problems++;
        log.warning(`Cannot look at ${displayPath(record.path)}: errno ${record.errno}`);
      }
      if (record.kind === "other") this.#tellOther(result, record.path);
      if (record.kind !== "file" || isExcluded(record.path)) continue;
      result.files++;
      unknown.push(record);
    }
    // What is unknown may have come with a rename whose event is on its way: that goes first.
    if (unknown.length > 0 || found.count > 0) await intake.barrier();
    const isTaken = this.#takeInTogether(found, moment, since);
    if (isTaken) result.changed += found.count;
    else unknown.push(...found.records().filter(({ path }) => !isExcluded(path)));
    result.changed += this.#takeIn(unknown, moment);
  }

  /**
   * Something that changes when a path without record may have had one, or lost its file, as far as
   * anybody here knows.
   */
  #moment(): string {
    const { intake, manifest } = this.#parts;
    return `${intake.taken} ${manifest.forgotten}`;
  }

  /** Records new files all at once; false where each has to be looked at. */
  #takeInTogether(found: FoundFiles, moment: string, since: ChangeWatch): boolean {
    if (found.count === 0) return true;
    const { intake, mayFindTogether } = this.#parts;
    return moment === this.#moment() && mayFindTogether() && intake.foundTogether(found, since);
  }

  /**
   * Records the files that still are what no record says; returns how many.
   * @param moment When the walk looked at them, see {@link #moment}.
   */
  #takeIn(found: readonly WalkRecord[], moment: string): number {
    const { files, manifest, intake, onFound } = this.#parts;
    if (found.length === 0) return 0;
    const paths = found.map(({ path }) => path);
    const areNew = manifest.areNew(paths);
    // What the walk saw may have been deleted, and recorded so, since. Where no event was taken in and
    // no record forgotten, only an event that is still to come can tell of it: then the walk's look is
    // as good as another one, for paths of which nothing is known.
    const isFresh = moment === this.#moment() && areNew.every((isNew) => isNew);
    const sizes = isFresh ? found.map(({ size }) => size) : files.sizesNow(paths);
    let changed = 0;
    for (const [i, record] of found.entries()) {
      const size = sizes[i]!;
      const looksKnown = size >= 0 && !areNew[i] && this.#looksKnown(record);
      if (size < 0 || (looksKnown && !this.#isDoubtful(record))) continue;
      onFound(record.path, looksKnown);
      if (areNew[i]) intake.found(record.path, size);
      else intake.changed(record.path, size);
      changed++;
    }
    return changed;
  }

  #tellOther(result: ScanResult, path: DepotPath): void {
    if (this.#parts.isExcluded(path)) return;
    result.others++;
    if (this.#toldOthers) return;
    this.#toldOthers = true;
    this.#parts.log.info(
      `Symbolic links, FIFOs, devices and sockets are left alone; the first is ${
        displayPath(path)
      }`,
    );
  }

  #looksKnown({ path, size, mtimeNs, mode }: WalkRecord): boolean {
    const record = this.#parts.manifest.get(path);
    if (record === null) return false;
    if (record.row.state !== CLEAN) return record.row.size === size;
    // No version: the C++ implementation's row; verified before it is evicted (M3).
    if (record.version === null) return record.row.size === size;
    return isVersion(record.version, size, mtimeNs, mode);
  }

  /** Whether the file may have changed unseen since its row became clean. */
  #isDoubtful({ path, ctimeNs }: WalkRecord): boolean {
    const row = this.#parts.manifest.get(path)?.row;
    if (row === undefined || row.state !== CLEAN) return false;
    const fromNs = this.#parts.unseen.doubtedFromNs(row);
    return fromNs !== null && ctimeNs >= fromNs;
  }

  async #dropMissing(result: ScanResult, paced: boolean): Promise<void> {
    const { files, manifest, activity, intake, isExcluded } = this.#parts;
    for (let after = "";;) {
      const begun = performance.now();
      const paths = await manifest.pathsAfter(after);
      if (paths.length === 0 || this.#stopped) return;
      const stats = await files.statMany(paths);
      // A delete whose event is on its way leaves a tombstone; what is dropped here leaves none.
      if (stats.includes(null)) await intake.barrier();
      for (const [i, path] of paths.entries()) {
        const isOut = isExcluded(path);
        if (stats[i] !== null && !isOut) continue;
        if (activity.evictions.has(path) || activity.restores.has(path)) continue;
        // Looked at again, now that nothing can come between the look and the change.
        if (manifest.get(path) === null || (!isOut && files.stat(path) !== null)) continue;
        activity.touch(path);
        manifest.set(path, null);
        result.dropped++;
      }
      after = paths.at(-1)!;
      if (manifest.pending > MAX_PENDING) await manifest.commit();
      if (paced) await rest(begun);
    }
  }
}

/** Rests so long that the step since `begun` (as performance.now counts) took its share of the time. */
function rest(begun: number): Promise<void> {
  return delay((performance.now() - begun) * REST_PER_WORK);
}
