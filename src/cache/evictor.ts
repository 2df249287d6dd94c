/**
 * Deletes the coldest files when the cache is full, never losing a byte that is only local (P1).
 *
 * One batch of files goes through these steps (the kernel's side: `shim/helper/evict.h`):
 *
 *   1. trash entries for the batch, durable                     crash: nothing moved yet
 *   2. write lease, same version, rename into the trash         crash: entry → put back at start
 *   3. barrier: every event before the leases has been taken in; grace ≥ 1 ms
 *   4. lease whole, version same, no event came → let go; else put back
 *   5. records and trash entries of those let go removed, durable  crash: no entry → unlinked at start
 *   6. unlink, or put back over nothing; leases dropped
 *   7. trash entries of the others removed
 *
 * A file is a candidate only when it is clean with a verified version (M2), not pinned, and no request of
 * unknown outcome may still replace its object. None is one while another daemon may be writing to the
 * storage (`src/cluster/lease.ts`): an object may not be the file's any more. A file of the C++
 * implementation without version (M3) is uploaded again first.
 *
 * It begins when the cache is above its low watermark, or the filesystem below a floor of free bytes or
 * inodes, and goes on until there is a tenth to spare.
 *
 * @module
 */

import type { EvictionCandidate, EvictionOutcome } from "../../ffi/evict.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import { accessed, type FileRecord } from "../manifest/transitions.ts";
import type { EngineMetrics, SkipReason } from "../observe/engine_metrics.ts";
import type { EventFeed } from "../observe/event_feed.ts";
import type { Health } from "../observe/health.ts";
import { describeError } from "../observe/logging.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Activity, Eviction } from "./activity.ts";
import { type DepotPath, displayPath } from "./depot_path.ts";
import type { DirectoryIdentities, Found } from "./directory_identities.ts";
import type { Intake } from "./intake.ts";
import type { Pins } from "./pins.ts";
import type { Reserve } from "./reserve.ts";
import { conflictName, CONFLICTS_DIR, TRASH_DIR } from "./trash.ts";
import type { Unsettled } from "./unsettled.ts";

/** Files leased at once; each holds a descriptor. */
const BATCH_FILES = 512;

/** Least time between lease and second look: what an opener needs from lookup to lease check, ms. */
const GRACE_MS = 2;

/** Longest wait for a commit while files are in the trash, ms: whoever opens one waits too. */
const COMMIT_MS = 5000;

/** Share of the low watermark at which eviction stops (contract). */
const TARGET_SHARE = 0.9;

/** Share of a floor of free space at which eviction stops. */
const FLOOR_TARGET_SHARE = 1.1;

/** Wait before trying again when too little could be evicted, ms. */
const RETRY_MS = 2000;

/** Parts the evictor works on, and its limits. */
export interface EvictorParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly pins: Pins;
  readonly unsettled: Unsettled;
  /** Whether nobody else writes to the storage: else an object may not be the file's any more. */
  readonly mayWrite: () => boolean;
  readonly identities: Pick<DirectoryIdentities, "find" | "remember">;
  readonly reserve: Pick<Reserve, "hold" | "neededBytes">;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly engineMetrics: EngineMetrics;
  readonly health: Health;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  readonly lowWatermarkBytes: number;
  /** Free bytes and inodes that the depot's filesystem keeps; 0 for no floor. */
  readonly minFreeBytes: number;
  readonly minFreeInodes: number;
  readonly minAgeSeconds: number;
}

/** What is to be freed. */
interface Goal {
  readonly bytes: number;
  readonly files: number;
  /** What is wrong when it cannot be reached. */
  readonly condition: "cache_over" | "disk_low";
}

/** So many bytes in so many files. */
interface Amount {
  readonly bytes: number;
  readonly files: number;
}

const NOTHING: Amount = { bytes: 0, files: 0 };

interface Chosen extends EvictionCandidate {
  readonly path: DepotPath;
  readonly record: FileRecord;
  readonly eviction: Eviction;
  readonly dir: Found;
  readonly end: () => void;
}

/** See the module's description. */
export class Evictor {
  readonly #parts: EvictorParts;
  #running: Promise<void> | null = null;
  /** Evictions that somebody asked for by name. */
  readonly #asked = new Set<Promise<unknown>>();
  #stopping = false;
  #retryAtMs = 0;
  #heldBecause: string | null = null;

  constructor(parts: EvictorParts) {
    this.#parts = parts;
  }

  /** Why the watermark is not kept at the moment, where an operator said so. */
  get heldBecause(): string | null {
    return this.#heldBecause;
  }

  /** Evicts for no watermark until it is called with null; a restore still gets its room. */
  hold(because: string | null): void {
    this.#heldBecause = because;
  }

  /** Starts evicting when the cache is above its low watermark, or the disk below a floor. */
  notice(): void {
    if (this.#stopping || this.#heldBecause !== null || !this.#parts.mayWrite()) return;
    if (this.#running !== null || Date.now() < this.#retryAtMs) return;
    const goal = this.#goal();
    if (goal !== null) this.#begin(goal);
  }

  /** Evicts `bytes` more, whatever the watermark says, as far as that is possible. */
  async makeRoom(bytes: number): Promise<void> {
    await this.#running;
    this.#begin({ bytes, files: 1, condition: "disk_low" });
    await this.#running;
  }

  /** Why the file would stay if it were to go now; null when it may go. */
  reasonToStay(path: DepotPath): SkipReason | null {
    const record = this.#parts.manifest.get(path);
    return record === null ? "gone" : this.#reasonToStay(path, record);
  }

  /**
   * Evicts these files, as far as each may go; neither watermark nor age count.
   * @param paths A batch of files at most, see BATCH_FILES.
   * @returns Why each stayed; null for those that went.
   */
  async evictOnly(paths: readonly DepotPath[]): Promise<(SkipReason | null)[]> {
    const { manifest, engineMetrics } = this.#parts;
    const chosen: Chosen[] = [];
    const reasons = paths.map((path) => {
      const record = manifest.get(path);
      const reason = this.#stopping
        ? "busy"
        : record === null
        ? "gone"
        : this.#reasonToStay(path, record);
      if (reason !== null) engineMetrics.evictionSkipped(reason);
      else chosen.push(this.#take(path, record!));
      return reason;
    });
    if (chosen.length === 0) return reasons;
    const work = this.#evict(chosen);
    this.#asked.add(work);
    try {
      await work;
    } finally {
      this.#asked.delete(work);
    }
    // One that is still recorded was put back: somebody had it open, or it changed.
    return reasons.map((reason, i) =>
      reason ?? (manifest.get(paths[i]!) === null ? null : "in_use")
    );
  }

  /** What has to go now; null when nothing has to. */
  #goal(): Goal | null {
    const { manifest, files, health, reserve } = this.#parts;
    const { lowWatermarkBytes, minFreeBytes, minFreeInodes } = this.#parts;
    const cached = manifest.counters.bytes;
    const over = cached > lowWatermarkBytes ? cached - lowWatermarkBytes * TARGET_SHARE : 0;
    if (over === 0) health.clear("cache_over");
    let bytes = 0, inodes = 0;
    if (!reserve.hold()) bytes = reserve.neededBytes;
    if (minFreeBytes > 0 || minFreeInodes > 0) {
      const { freeBytes, freeInodes, totalInodes } = files.space();
      if (freeBytes < minFreeBytes) {
        bytes = Math.max(bytes, minFreeBytes * FLOOR_TARGET_SHARE - freeBytes);
      }
      // btrfs and others count no inodes: they report none at all.
      const counted = totalInodes > 0;
      if (counted && freeInodes < minFreeInodes) {
        inodes = Math.ceil(minFreeInodes * FLOOR_TARGET_SHARE - freeInodes);
      }
    }
    if (bytes === 0 && inodes === 0) health.clear("disk_low");
    if (bytes > 0 || inodes > 0) {
      return { bytes: Math.max(bytes, over), files: inodes, condition: "disk_low" };
    }
    return over > 0 ? { bytes: over, files: 0, condition: "cache_over" } : null;
  }

  /** Ends after the batch in flight. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
    await Promise.allSettled(this.#asked);
  }

  #begin(goal: Goal): void {
    const { log } = this.#parts;
    this.#running = this.#evictFor(goal)
      .catch((error) => {
        this.#retryAtMs = Date.now() + RETRY_MS;
        log.error(`Eviction failed, will be tried again: ${describeError(error)}`);
      })
      .finally(() => this.#running = null);
  }

  async #evictFor(goal: Goal): Promise<void> {
    const { manifest, health } = this.#parts;
    await manifest.commit(); // the order below is read from what is committed
    // What is still wanted beside what is on its way, and what comes short of that.
    let { bytes, files } = goal;
    let onItsWay = Promise.resolve(NOTHING);
    const settle = async (next: Promise<Amount>) => {
      const before = onItsWay;
      onItsWay = next;
      next.catch(() => {}); // thrown when it is waited for
      const missed = await before;
      bytes += missed.bytes;
      files += missed.files;
    };
    try {
      for (let after = "";;) {
        if (this.#stopping || (bytes <= 0 && files <= 0)) await settle(Promise.resolve(NOTHING));
        if (this.#stopping || (bytes <= 0 && files <= 0)) return;
        const page = await manifest.coldestAfter(after);
        manifest.preload(page.map(({ path }) => path));
        const chosen = this.#choose(page, bytes, files);
        after = chosen.after;
        if (chosen.files.length > 0) {
          bytes -= chosen.files.reduce((sum, { size }) => sum + size, 0);
          files -= chosen.files.length;
          // The next batch is leased while this one is being let go.
          await settle(this.#evict(chosen.files));
        } else if (after === "") break;
      }
    } finally {
      await onItsWay;
    }
    if (this.#stopping) return;
    this.#retryAtMs = Date.now() + RETRY_MS;
    const { bytes: cached, dirty } = manifest.counters;
    health.raise(
      goal.condition,
      `cannot evict enough: ${cached} bytes stay, since they are dirty (${dirty} files), pinned, in ` +
        `use or too young`,
    );
  }

  /** The next candidates of the page, and the key to go on after ("" at the end). */
  #choose(
    page: readonly { key: string; path: DepotPath; seconds: number }[],
    wantedBytes: number,
    wantedFiles: number,
  ): { files: Chosen[]; after: string } {
    const { manifest, minAgeSeconds, nowSeconds, engineMetrics } = this.#parts;
    const files: Chosen[] = [];
    const youngest = nowSeconds() - minAgeSeconds;
    let planned = 0, dir: Found | null = null;
    for (const { key, path, seconds } of page) {
      if (seconds > youngest) return { files, after: "" };
      const record = manifest.get(path);
      if (record === null || record.row.lastAccess > youngest) continue;
      const reason = this.#reasonToStay(path, record);
      if (reason !== null || record.version === null) {
        if (reason !== null) engineMetrics.evictionSkipped(reason);
        continue;
      }
      const chosen = this.#take(path, record, dir);
      files.push(chosen);
      dir = chosen.dir;
      planned += record.version.size;
      const enough = planned >= wantedBytes && files.length >= wantedFiles;
      if (files.length === BATCH_FILES || enough) return { files, after: key };
    }
    return { files, after: page.at(-1)?.key ?? "" };
  }

  /**
   * Begins the eviction of a file that may go; {@link #evict} ends it.
   * @param found What was found just now: of neighbours the directory is looked at once.
   */
  #take(path: DepotPath, record: FileRecord, found: Found | null = null): Chosen {
    const { manifest, activity, identities } = this.#parts;
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    const eviction = { touched: false, isGone: false, path, done };
    activity.evictions.set(path, eviction);
    const { size, mtimeNs, mode } = record.version!;
    const name = path.slice(0, Math.max(0, path.lastIndexOf("/"))) as DepotPath;
    const dir = found?.dir === name ? found : identities.find(name);
    const trashId = manifest.addTrash(path);
    return { path, trashId, size, mtimeNs, mode, record, eviction, dir, end };
  }

  /** Why the file is not even tried; null when it is. */
  #reasonToStay(path: DepotPath, record: FileRecord): SkipReason | null {
    const { activity, intake, pins, unsettled, mayWrite } = this.#parts;
    if (record.row.state !== CLEAN) return "dirty";
    if (!mayWrite()) return "unleased";
    if (activity.evictions.has(path) || activity.restores.has(path)) return "busy";
    if (pins.isPinned(path)) return "pinned";
    if (unsettled.has(path)) return "unsettled";
    if (record.version !== null) return null;
    intake.changed(path, record.row.size);
    return "unverified";
  }

  /** Returns how much of it stayed. */
  async #evict(files: readonly Chosen[]): Promise<Amount> {
    const { manifest, metrics, feed, activity, intake, identities } = this.#parts;
    const begun = performance.now();
    let settled = false;
    try {
      await manifest.commit();
      const batch = await this.#parts.files.beginEviction(TRASH_DIR, files);
      await Promise.all([intake.barrier(), pause(GRACE_MS)]);
      const checked = await batch.check();
      // From here to finish no event can be taken in between the decision and its record.
      // What p4d has replaced, and then removed, is not put back: it would be there again.
      const letGo = files.map(({ eviction, dir }, i) =>
        checked[i] === "taken" && (!eviction.touched || eviction.isGone) &&
        identities.remember(dir)
      );
      let evictedFiles = 0, evictedBytes = 0;
      for (const [i, file] of files.entries()) {
        if (!letGo[i]) continue;
        manifest.set(file.path, null);
        manifest.removeTrash(file.trashId);
        evictedFiles++;
        evictedBytes += file.size;
      }
      if (evictedFiles > 0 && !await this.#isDurable()) {
        this.#takeBack(files, letGo);
        evictedFiles = evictedBytes = 0;
      }
      const outcomes = await batch.finish(letGo);
      settled = true;
      for (const [i, file] of files.entries()) {
        if (!letGo[i]) this.#kept(file, outcomes[i]!);
        else if (outcomes[i] !== "taken") this.#cameBack(file, outcomes[i]!);
        // A new file came to the path after the decision, and may have gone again.
        else if (file.eviction.touched) this.#recordTouched(file);
        else feed.note("evicted", file.path, { bytes: file.size });
      }
      metrics.evicted(evictedFiles, evictedBytes, (performance.now() - begun) / 1000);
      const bytes = files.reduce((sum, { size }) => sum + size, 0);
      return { files: files.length - evictedFiles, bytes: bytes - evictedBytes };
    } finally {
      for (const file of files) {
        activity.evictions.delete(file.path);
        if (!settled && file.eviction.touched) this.#recordTouched(file);
        file.end();
      }
    }
  }

  /** Commits what was decided; false when that takes so long that openers must not wait for it. */
  async #isDurable(): Promise<boolean> {
    let timer = 0;
    const late = new Promise<false>((resolve) => timer = setTimeout(resolve, COMMIT_MS, false));
    const done = await Promise.race([this.#parts.manifest.commit().then(() => true), late]);
    clearTimeout(timer);
    return done;
  }

  /**
   * Nothing is let go after all. Should the commit still succeed, a crash before the next one leaves the
   * files at their paths and unknown: the scan uploads them again.
   */
  #takeBack(files: readonly Chosen[], letGo: boolean[]): void {
    const { manifest } = this.#parts;
    for (const [i, { path, record }] of files.entries()) {
      // A record there is of a newer file, whose event came meanwhile.
      if (letGo[i] && manifest.get(path) === null) manifest.set(path, record);
      letGo[i] = false;
    }
  }

  /** The file stays: records why, so that it is not the first candidate again at once. */
  #kept(file: Chosen, outcome: EvictionOutcome): void {
    const { manifest, intake, log, nowSeconds, files } = this.#parts;
    const { path, trashId } = file;
    if (outcome === "conflict") this.#keepConflict(file);
    manifest.removeTrash(trashId);
    const reason = file.eviction.touched ? "touched" : outcome === "taken" ? "touched" : outcome;
    this.#parts.engineMetrics.evictionSkipped(reason);
    if (file.eviction.touched) return this.#recordTouched(file);
    const record = manifest.get(path);
    if (record === null || record.row.state !== CLEAN) return;
    const there = files.stat(path);
    // Gone: its event is on its way, and records that.
    if (there === null) return;
    if (outcome === "changed") {
      intake.changed(path, there.size);
    } else {
      if (outcome === "failed" || outcome === "denied") {
        log.warning(`Cannot evict ${displayPath(path)}: ${outcome}`);
      }
      manifest.set(path, accessed(record, nowSeconds()));
    }
  }

  /** Opened after it was let go: it is back at its path, unrecorded. */
  #cameBack(file: Chosen, outcome: EvictionOutcome): void {
    if (outcome === "conflict") this.#keepConflict(file);
    this.#recordTouched(file);
  }

  /** Its path was taken by a newer file: its content is kept aside. */
  #keepConflict({ path, trashId }: Chosen): void {
    const kept = conflictName(trashId, path);
    this.#parts.files.rename(`${TRASH_DIR}/${trashId}`, `${CONFLICTS_DIR}/${kept}`);
    this.#parts.log.warning(
      `${displayPath(path)} was written anew while it was evicted; ` +
        `its earlier content is kept as ${CONFLICTS_DIR}/${displayPath(kept)}`,
    );
  }

  /** An event came for the path during the eviction: what is there now is what counts. */
  #recordTouched({ path, eviction }: Chosen): void {
    const { files, intake, activity } = this.#parts;
    activity.evictions.delete(path);
    const there = files.stat(path);
    if (there !== null) intake.changed(path, there.size);
    else if (eviction.isGone) intake.removed(path);
    else intake.gone(path);
    if (eviction.path === path) return;
    const moved = files.stat(eviction.path);
    if (moved !== null) intake.changed(eviction.path, moved.size);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
