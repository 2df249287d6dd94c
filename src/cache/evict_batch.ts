/**
 * Carries out the eviction of a batch of chosen files, never losing a byte that is only local (P1).
 *
 * One batch of files goes through these steps (the kernel's side: `shim/helper/evict.h`):
 *
 *   1. trash entries, and what the directories are, durable     crash: nothing moved yet
 *   2. write lease, the version for certain (unseen_changes.ts),
 *      rename into the trash                                    crash: entry → put back at start
 *   3. barrier: every event before the leases has been taken in; grace ≥ 1 ms
 *   4. lease whole, version same, no event came → let go; else put back
 *   5. records and trash entries of those let go removed, durable  crash: no entry → unlinked at start
 *   6. unlink, also what p4d has replaced; or put back over nothing; leases dropped
 *   7. trash entries of the others removed
 *
 * Batches overlap. Nothing is shared between two of them but the manifest and the barrier: a path is in
 * one batch at most (`activity.evictions`), each has its leases, its trash names and its own grace, and a
 * commit that two of them wait for ends after the changes of both.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { EvictionCandidate, EvictionOutcome } from "../../ffi/evict.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import { accessed, type FileRecord } from "../manifest/transitions.ts";
import type { EngineMetrics } from "../observe/engine_metrics.ts";
import type { EventFeed } from "../observe/event_feed.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Activity, Eviction } from "./activity.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { DirectoryIdentities, Found } from "./directory_identities.ts";
import type { Intake } from "./intake.ts";
import { conflictName, CONFLICTS_DIR, TRASH_DIR } from "./trash.ts";

/** Least time between lease and second look: what an opener needs from lookup to lease check, ms. */
const GRACE_MS = 2;

/** Longest wait for a commit, ms: whoever opens a file in the trash, or needs its room, waits too. */
export const COMMIT_MS = 5000;

/** What is thrown after that. */
export const UNWRITABLE = "the manifest cannot be written";

/** Parts it works on. */
export interface EvictBatchesParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  /** A file that looks like the stored version is to be read again. */
  readonly onDoubtful: (path: DepotPath) => void;
  readonly identities: Pick<DirectoryIdentities, "remember">;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly engineMetrics: EngineMetrics;
  readonly log: Logger;
  readonly nowSeconds: () => number;
}

/** So many bytes in so many files. */
export interface Amount {
  readonly bytes: number;
  readonly files: number;
}

/** A file that may go: its trash entry is staged, and it is noted in `activity`. */
export interface Chosen extends EvictionCandidate {
  readonly path: DepotPath;
  readonly record: FileRecord;
  readonly eviction: Eviction;
  readonly dir: Found;
  readonly end: () => void;
}

/** See the module's description. */
export class EvictBatches {
  readonly #parts: EvictBatchesParts;

  constructor(parts: EvictBatchesParts) {
    this.#parts = parts;
  }

  /**
   * Evicts them, as far as each may go. Several batches may be on their way at once.
   * @returns How much of it stayed.
   */
  async evict(chosen: readonly Chosen[]): Promise<Amount> {
    const { manifest, metrics, feed, intake, identities } = this.#parts;
    const begun = performance.now();
    const bytes = chosen.reduce((sum, { size }) => sum + size, 0);
    let files = chosen, settled = false;
    try {
      // A file that a crash leaves in the trash must find its directory, renamed meanwhile or not.
      if (files.some(({ dir }) => !dir.isKnown)) {
        await intake.barrier();
        const { known = [], unknown = [] } = Object.groupBy(
          chosen,
          ({ dir }) => identities.remember(dir) ? "known" : "unknown",
        );
        this.#leave(unknown);
        files = known;
        if (files.length === 0) return { files: chosen.length, bytes };
      }
      if (!await manifest.commitWithin(COMMIT_MS)) {
        this.#leave(files);
        files = [];
        throw new Error(UNWRITABLE);
      }
      const batch = await this.#parts.files.beginEviction(TRASH_DIR, files);
      await Promise.all([intake.barrier(), delay(GRACE_MS)]);
      const checked = await batch.check();
      // From here to finish no event can be taken in between the decision and its record.
      // What p4d has replaced, and then removed, is not put back: it would be there again.
      const letGo = files.map(({ eviction, dir }, i) =>
        checked[i] === "taken" && (!eviction.touched || eviction.isGone) &&
        identities.remember(dir)
      );
      manifest.preload(files.flatMap(({ path }, i) => letGo[i] ? path : []));
      let evictedFiles = 0, evictedBytes = 0;
      for (const [i, file] of files.entries()) {
        if (!letGo[i]) continue;
        manifest.set(file.path, null);
        manifest.trash.remove(file.trashId);
        file.eviction.trashId = null;
        evictedFiles++;
        evictedBytes += file.size;
      }
      if (evictedFiles > 0 && !await manifest.commitWithin(COMMIT_MS)) {
        this.#takeBack(files, letGo);
        evictedFiles = evictedBytes = 0;
      }
      // What p4d has replaced is not put back, whatever became of its successor meanwhile.
      const goes = files.map((file, i) => letGo[i]! || isObsolete(file, checked[i]!));
      const outcomes = await batch.finish(goes);
      settled = true;
      for (const [i, file] of files.entries()) {
        if (!letGo[i]) this.#kept(file, checked[i]!, outcomes[i]!);
        else if (outcomes[i] !== "taken") this.#cameBack(file, outcomes[i]!);
        // A new file came to the path after the decision, and may have gone again.
        else if (file.eviction.touched) this.#recordTouched(file);
        else feed.note("evicted", file.path, { bytes: file.size });
      }
      metrics.evicted(evictedFiles, evictedBytes, (performance.now() - begun) / 1000);
      return { files: chosen.length - evictedFiles, bytes: bytes - evictedBytes };
    } finally {
      for (const file of files) this.#end(file, settled);
    }
  }

  /** They are not taken. */
  #leave(files: readonly Chosen[]): void {
    for (const file of files) {
      this.#parts.manifest.trash.remove(file.trashId);
      file.eviction.trashId = null;
      this.#end(file, false);
    }
  }

  /** @param isRecorded Whether what happened at its path meanwhile is. */
  #end(file: Chosen, isRecorded: boolean): void {
    this.#parts.activity.endEviction(file.eviction);
    if (!isRecorded && file.eviction.touched) this.#recordTouched(file);
    file.end();
  }

  /**
   * Nothing is let go after all. Should the commit still succeed, a crash before the next one leaves the
   * files at their paths and unknown: the scan uploads them again.
   */
  #takeBack(files: readonly Chosen[], letGo: boolean[]): void {
    const { manifest } = this.#parts;
    for (const [i, { path, record, eviction }] of files.entries()) {
      // A record there is of a newer file, whose event came meanwhile. One whose directory was renamed is
      // recorded where it goes back to.
      const isHere = eviction.path === path && manifest.get(path) === null;
      if (letGo[i] && isHere) manifest.set(path, record);
      letGo[i] = false;
    }
  }

  /** The file stays: records why, so that it is not the first candidate again at once. */
  #kept(file: Chosen, checked: EvictionOutcome, outcome: EvictionOutcome): void {
    const { manifest, intake, log, nowSeconds, files, onDoubtful } = this.#parts;
    const { path, trashId } = file;
    if (outcome === "conflict") {
      if (isObsolete(file, checked)) files.unlink(`${TRASH_DIR}/${trashId}`);
      else this.#keepConflict(file);
    }
    manifest.trash.remove(trashId);
    const reason = file.eviction.touched ? "touched" : outcome === "taken" ? "touched" : outcome;
    this.#parts.engineMetrics.evictionSkipped(reason);
    if (file.eviction.touched) return this.#recordTouched(file);
    const record = manifest.get(path);
    if (record === null || record.row.state !== CLEAN) return;
    const there = files.stat(path);
    // Gone: its event is on its way, and records that.
    if (there === null) return;
    if (outcome === "doubtful") onDoubtful(path);
    if (outcome === "changed" || outcome === "doubtful") {
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
  #keepConflict({ eviction: { path }, trashId }: Chosen): void {
    const kept = conflictName(trashId, path);
    this.#parts.files.rename(`${TRASH_DIR}/${trashId}`, `${CONFLICTS_DIR}/${kept}`);
    this.#parts.log.warning(
      `${displayPath(path)} was written anew while it was evicted; ` +
        `its earlier content is kept as ${CONFLICTS_DIR}/${displayPath(kept)}`,
    );
  }

  /** Something happened at its path during the eviction: what is there now is what counts. */
  #recordTouched({ path, eviction }: Chosen): void {
    const { files, intake, activity } = this.#parts;
    const now = eviction.path;
    activity.endEviction(eviction);
    const there = files.stat(now);
    if (there !== null) intake.changed(now, there.size);
    else if (eviction.isGone) intake.removed(now);
    else intake.gone(now);
    // Where the renames were ahead of their events, another directory's file may have been taken.
    const other = now === path ? null : files.stat(path);
    if (other !== null) intake.changed(path, other.size);
  }
}

/**
 * Whether it is the stored version, and would be no more without us: p4d renamed another file to its path,
 * whatever became of that, or removed what was there last.
 */
function isObsolete({ path, eviction }: Chosen, checked: EvictionOutcome): boolean {
  return checked === "taken" && eviction.path === path && (eviction.isReplaced || eviction.isGone);
}
