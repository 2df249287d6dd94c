/**
 * Deletes the coldest files when the cache is full: chooses them here, in batches that
 * `evict_batch.ts` carries out, some of them at once.
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

import { counted } from "../counted.ts";
import type { OrderEntry } from "../manifest/evict_ranks.ts";
import { CLEAN } from "../manifest/schema.ts";
import type { FileRecord } from "../manifest/transitions.ts";
import type { SkipReason } from "../observe/engine_metrics.ts";
import type { Health } from "../observe/health.ts";
import { describeError } from "../observe/logging.ts";
import type { Eviction } from "./activity.ts";
import { type DepotPath, directoryOf } from "../depot_path.ts";
import type { DirectoryIdentities, Found } from "./directory_identities.ts";
import {
  type Amount,
  type Chosen,
  COMMIT_MS,
  EvictBatches,
  type EvictBatchesParts,
  UNWRITABLE,
} from "./evict_batch.ts";
import type { Pins } from "./pins.ts";
import type { Reserve } from "./reserve.ts";
import type { UnseenChanges } from "./unseen_changes.ts";
import type { Unsettled } from "./unsettled.ts";

/** Files leased at once; each holds a descriptor. */
const BATCH_FILES = 512;

/**
 * Batches on their way at once. With two the disk waits for commits, and commits for the disk; a third
 * fills both. Each opener of a file that is leaving waits for its batch, so that more would cost him more.
 */
const BATCHES = 3;

/** Share of the low watermark at which eviction stops (contract). */
const TARGET_SHARE = 0.9;

/** Share of a floor of free space at which eviction stops. */
const FLOOR_TARGET_SHARE = 1.1;

/** Wait before trying again when too little could be evicted, ms. */
const RETRY_MS = 2000;

/** Parts the evictor works on, and its limits. */
export interface EvictorParts extends EvictBatchesParts {
  readonly pins: Pins;
  readonly unsettled: Unsettled;
  readonly unseen: Pick<UnseenChanges, "doubtedFromNs">;
  /** Whether nobody else writes to the storage: else an object may not be the file's any more. */
  readonly mayWrite: () => boolean;
  readonly identities: Pick<DirectoryIdentities, "find" | "remember">;
  readonly reserve: Pick<Reserve, "hold" | "neededBytes">;
  readonly health: Health;
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

/** See the module's description. */
export class Evictor {
  readonly #parts: EvictorParts;
  readonly #batches: EvictBatches;
  #running: Promise<void> | null = null;
  /** Evictions that somebody asked for by name. */
  readonly #asked = new Set<Promise<unknown>>();
  #stopping = false;
  #retryAtMs = 0;
  #heldBecause: string | null = null;

  constructor(parts: EvictorParts) {
    this.#parts = parts;
    this.#batches = new EvictBatches(parts);
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

  /**
   * Evicts `bytes` more, whatever the watermark says, as far as that is possible. Ends soon where the
   * manifest cannot be written.
   */
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
    const work = this.#batches.evict(chosen);
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
    // The order below is read from what is committed.
    if (!await manifest.commitWithin(COMMIT_MS)) throw new Error(UNWRITABLE);
    // What is still wanted beside what is on its way, and what comes short of that.
    let { bytes, files } = goal;
    const onTheirWay: Promise<Amount>[] = [];
    const isEnough = () => this.#stopping || (bytes <= 0 && files <= 0);
    const settleFirst = async () => {
      const missed = await onTheirWay.shift()!;
      bytes += missed.bytes;
      files += missed.files;
    };
    try {
      let page: readonly OrderEntry[] = [];
      for (let after = "";;) {
        while (isEnough() && onTheirWay.length > 0) await settleFirst();
        if (isEnough()) return;
        if (page.length === 0) page = await manifest.coldestAfter(after);
        const next = page.slice(0, BATCH_FILES);
        manifest.preload(next.map(({ path }) => path));
        const chosen = this.#choose(next, bytes, files);
        after = chosen.after;
        page = page.filter(({ key }) => key > after);
        if (chosen.files.length > 0) {
          bytes -= chosen.files.reduce((sum, { size }) => sum + size, 0);
          files -= chosen.files.length;
          const evicted = this.#batches.evict(chosen.files);
          evicted.catch(() => {}); // thrown when it is waited for
          onTheirWay.push(evicted);
          if (onTheirWay.length === BATCHES) await settleFirst();
        } else if (after === "") break;
      }
      while (onTheirWay.length > 0) await settleFirst();
    } finally {
      // One failed: the others still come to their end.
      await Promise.allSettled(onTheirWay);
    }
    if (this.#stopping) return;
    this.#retryAtMs = Date.now() + RETRY_MS;
    const { bytes: cached, dirty } = manifest.counters;
    health.raise(
      goal.condition,
      `cannot evict enough: ${cached} bytes stay, since they are dirty (${
        counted(dirty, "file")
      }), pinned, in ` +
        `use or too young`,
    );
  }

  /** The next candidates of the page, and the key to go on after ("" at the end). */
  #choose(
    page: readonly OrderEntry[],
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
   * Begins the eviction of a file that may go; {@link EvictBatches.evict} ends it.
   * @param found What was found just now: of neighbours the directory is looked at once.
   */
  #take(path: DepotPath, record: FileRecord, found: Found | null = null): Chosen {
    const { manifest, activity, identities, unseen } = this.#parts;
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    const name = directoryOf(path);
    const dir = found?.dir === name ? found : identities.find(name);
    const trashId = manifest.trash.add(path, dir.identity);
    const eviction: Eviction = {
      touched: false,
      isGone: false,
      isReplaced: false,
      path,
      directory: dir.identity,
      trashId,
      done,
    };
    activity.evictions.set(path, eviction);
    const { size, mtimeNs, mode } = record.version!;
    const doubtedFromNs = unseen.doubtedFromNs(record.row);
    const candidate = {
      path,
      trashId,
      size,
      mtimeNs,
      mode,
      doubtedFromNs,
      directory: dir.identity,
    };
    return { ...candidate, record, eviction, dir, end };
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
}
