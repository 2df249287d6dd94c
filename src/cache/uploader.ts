/**
 * Uploads dirty files, oldest first, and marks them clean.
 *
 * Keeps P1: a file becomes clean only when one version of it was read whole, stored and acknowledged,
 * and no event came for its path since it was opened. Anything else leaves it dirty.
 *
 * The dirty queue stays in the manifest; in memory are one page of it, the files in flight, and those
 * put off. Here it is decided which file goes when; `upload_lanes.ts` takes it from there.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { CLEAN } from "../manifest/schema.ts";
import { describeError } from "../observe/logging.ts";
import type { PartBudget } from "../storage/part_budget.ts";
import type { DepotPath } from "../depot_path.ts";
import { GATHER_MS, gatherBurst } from "./burst.ts";
import type { DirectoryRenames } from "./directory_renames.ts";
import { PutOffFiles } from "./put_off_files.ts";
import { FreshFiles } from "./fresh_files.ts";
import { OnceLater } from "./once_later.ts";
import {
  BATCH_BYTES,
  type QueuedFile,
  SMALL_BYTES,
  UploadLanes,
  type UploadLanesParts,
} from "./upload_lanes.ts";
import { VersionUpload, type VersionUploadParts } from "./version_upload.ts";

/** Wait after the queue could not be read, ms. */
const READ_RETRY_MS = 500;

/** Look at the queue this often though nothing is said to be dirty, ms. */
const QUIET_MS = 10_000;

/** Wait after the first of the files that a walk finds, ms: it is soon done without their uploads. */
const WALK_MS = 1000;

/** Time between two probes of a backend that is down, ms. */
const PROBE_MS = 1000;

/** Uploads that the backend failed or refused in a row, after which it is only probed. */
const FAILURES_TO_PROBE = 8;

/** Parts the uploader works on, and its limits. */
export interface UploaderParts extends VersionUploadParts, UploadLanesParts {
  /** Whether the backend was found unreachable, or asked for rest, and is only probed. */
  readonly isBackendDown: () => boolean;
  readonly isExcluded: (path: string) => boolean;
  readonly renames: Pick<DirectoryRenames, "isHeld">;
  /** Small files read in one call. */
  readonly batchSize: number;
  /** Longest time a dirty file waits to be noticed, ms. */
  readonly pollIntervalMs: number;
}

/** See the module's description. */
export class Uploader {
  readonly #parts: UploaderParts;
  readonly #lanes: UploadLanes;
  readonly #fresh = new FreshFiles();
  readonly #putOff = new PutOffFiles();
  readonly #abort = new AbortController();
  readonly #versions: VersionUpload;
  #stopping = false;
  #wake: (() => void) | null = null;
  /** Whether something became dirty since the walk through the queue began: it may be behind us. */
  #woken = false;
  /** Files that were said to be dirty. */
  #noticed = 0;
  readonly #foundLook = new OnceLater(WALK_MS, () => this.#look());
  #running: Promise<void> | null = null;
  /** Resolves when uploads may begin. */
  #held: Promise<void> | null = null;
  /** When the oldest dirty file became dirty, s since the epoch. */
  #oldest: number | null = null;

  constructor(parts: UploaderParts) {
    this.#parts = parts;
    const mustWait = (path: DepotPath) => this.#mustWait(path);
    this.#versions = new VersionUpload(parts, mustWait, this.#putOff, this.#abort.signal);
    this.#lanes = new UploadLanes(parts, this.#versions, {
      isDue: (path) => this.#isDue(path),
      isHeld: () => this.#held !== null,
      onChanged: (path) => this.notice(path),
      onRoom: () => this.#look(),
    });
  }

  /** For the contents of small files. */
  get memory(): PartBudget {
    return this.#lanes.memory;
  }

  /** Age of the file that has waited longest, at the last look at the queue, s. */
  get oldestDirtySeconds(): number {
    const { manifest, nowSeconds } = this.#parts;
    if (this.#oldest === null || manifest.counters.dirty === 0) return 0;
    return Math.max(0, nowSeconds() - this.#oldest);
  }

  /** Files in flight. */
  get uploading(): number {
    return this.#parts.activity.uploads.size;
  }

  /** The backend asked to slow down. */
  throttled(): void {
    this.#lanes.throttled();
  }

  /** Takes the limits as its parts give them now. */
  adjust(): void {
    this.#lanes.adjust();
  }

  start(): void {
    this.#running = this.#run();
  }

  /** A file became dirty: looks at the queue now, at this file too when it had been put off. */
  notice(path: DepotPath): void {
    this.#putOff.forget(path);
    this.#noticed++;
    this.#fresh.note(path, this.#parts.manifest.counters.dirty);
    this.#look();
  }

  /** A walk found dirty files: they wait their turn. */
  found(): void {
    if (!this.#stopping) this.#foundLook.ask();
  }

  /** Begins no upload until the promise resolves. */
  hold(until: Promise<void>): void {
    const held = Promise.all([this.#held, until.catch(() => {})]).then(() => {
      if (this.#held === held) this.#held = null;
    });
    this.#held = held;
  }

  /** Looks at the whole queue now, at files that were put off too. */
  hurry(): void {
    this.#putOff.clear();
    this.#look();
  }

  #look(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /**
   * Takes no new file, waits for those in flight, and abandons them after `timeoutMs`; an abandoned
   * file stays dirty.
   */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true;
    this.#lanes.stop();
    this.#foundLook.cancel();
    this.#wake?.();
    const timer = setTimeout(() => this.#abort.abort(), timeoutMs);
    await this.#running;
    while (this.#parts.activity.uploads.size > 0) await delay(5);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { manifest, log } = this.#parts;
    let after = "";
    let walkBegun = 0;
    while (!this.#stopping) {
      try {
        if (after === "") {
          this.#woken = false;
          walkBegun = performance.now();
        }
        await this.#held;
        if (after === "") await this.#settle();
        const page = await manifest.dirtyAfter(after);
        if (after === "") this.#oldest = page[0]?.seconds ?? null;
        const due = page.map((entry) => entry.path).filter((path) => this.#isDue(path));
        if (this.#isDown()) {
          // One file is the probe; the others wait without being read again and again.
          this.#lanes.clearLarge();
          await this.#uploadAll(due.slice(0, 1));
          await delay(PROBE_MS);
          after = "";
          continue;
        }
        await this.#uploadAll(due);
        after = page.at(-1)?.key ?? "";
        if (page.length === 0) await this.#idle(performance.now() - walkBegun);
        else if (due.length === 0) await delay(1);
      } catch (error) {
        log.error(`Cannot read the queue of dirty files: ${describeError(error)}`);
        await delay(READ_RETRY_MS);
      }
    }
  }

  /** Whether the backend is only probed; says so. */
  #isDown(): boolean {
    const { health, isBackendDown } = this.#parts;
    const { failuresInARow, lastFailure } = this.#versions;
    const isDown = isBackendDown() || failuresInARow >= FAILURES_TO_PROBE;
    if (isDown) health.raise("backend_down", lastFailure || "the storage cannot be reached");
    else health.clear("backend_down");
    return isDown;
  }

  /**
   * Has what was written just now in the queue. A manifest that cannot be written must not keep the
   * files that are in the queue already from their upload.
   */
  async #settle(): Promise<void> {
    const { manifest, pollIntervalMs } = this.#parts;
    if (manifest.pending === 0) return;
    await manifest.commitWithin(pollIntervalMs).catch(() => {});
  }

  /** @param walkMs How long the walk took that is over: as long did files gather already. */
  async #idle(walkMs: number): Promise<void> {
    if (this.#woken || this.#stopping) return delay(Math.max(0, GATHER_MS - walkMs));
    let timer = 0;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      const { manifest, pollIntervalMs } = this.#parts;
      // With nothing dirty only an event can bring work, and it wakes us.
      timer = setTimeout(resolve, manifest.counters.dirty === 0 ? QUIET_MS : pollIntervalMs);
    });
    clearTimeout(timer);
    this.#wake = null;
    if (this.#stopping) return;
    await gatherBurst(() => this.#stopping ? 0 : this.#noticed, delay);
  }

  #isDue(path: DepotPath): boolean {
    const { activity, manifest, isExcluded } = this.#parts;
    if (this.#lanes.has(path)) return false;
    if (this.#mustWait(path) || this.#putOff.has(path)) return false;
    // On its way out, and touched: the evictor says what is at the path when it is done.
    if (activity.evictions.has(path)) return false;
    const record = manifest.get(path);
    return record !== null && record.row.state !== CLEAN && !isExcluded(path);
  }

  /** Its object is being removed or copied to (garbage.ts), or may be the only copy of another file. */
  #mustWait(path: DepotPath): boolean {
    const { activity, renames } = this.#parts;
    return activity.objects.has(path) || renames.isHeld(path);
  }

  async #uploadAll(paths: readonly DepotPath[]): Promise<void> {
    const { activity, manifest, batchSize } = this.#parts;
    let batch: QueuedFile[] = [];
    let batchBytes = 0;
    for (const path of paths) {
      if (this.#stopping) return;
      const record = manifest.get(path);
      // Uploaded between others since the page was read.
      if (activity.uploads.has(path) || record === null || record.row.state === CLEAN) continue;
      const { size } = record.row;
      if (size > SMALL_BYTES) {
        this.#lanes.addLarge(path);
        continue;
      }
      if (batch.length === batchSize || batchBytes + size > BATCH_BYTES) {
        await this.#lanes.addBatch(batch);
        await this.#uploadFresh();
        batch = [];
        batchBytes = 0;
      }
      batch.push({ path, size });
      batchBytes += size;
    }
    await this.#lanes.addBatch(batch);
  }

  /** A batch of what became dirty last, between those that have waited longest. */
  async #uploadFresh(): Promise<void> {
    const fresh = this.#fresh.take(this.#parts.batchSize);
    await this.#uploadAll(fresh.filter((path) => this.#isDue(path)));
  }
}
