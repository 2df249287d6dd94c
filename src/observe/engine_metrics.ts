/**
 * Metrics of the engine beyond the contract's: room on the disk, what eviction passed over, the
 * comparison of depot and manifest, deletes, renames, and health.
 *
 * @module
 */

import { Counter, Gauge, type Registry } from "prom-client";
import { CONDITIONS, type Health } from "./health.ts";

/** Why a file that eviction came upon stays. */
const SKIP_REASONS = [
  "dirty",
  "pinned",
  "unsettled",
  "unleased",
  "unverified",
  "busy",
  "in_use",
  "changed",
  "doubtful",
  "linked",
  "gone",
  "denied",
  "conflict",
  "failed",
  "touched",
] as const;

/** See {@link SKIP_REASONS}. */
export type SkipReason = typeof SKIP_REASONS[number];

/** Values read at the moment of asking. */
export interface EngineReadings {
  readonly freeBytes: number;
  readonly freeInodes: number;
  readonly dirtyBytes: number;
  /** Age of the file that has waited longest for its upload; 0 when none waits. */
  readonly oldestDirtySeconds: number;
}

/** How one comparison of the depot with the manifest went. */
export interface ReconcileFigures {
  readonly files: number;
  readonly changed: number;
  readonly dropped: number;
  readonly problems: number;
  readonly seconds: number;
}

/** See the module's description. */
export class EngineMetrics {
  readonly #skipped;
  readonly #reconciles;
  readonly #reconcileFiles;
  readonly #reconcileSeconds;
  readonly #reconcileLast;
  readonly #removed;
  readonly #copied;
  readonly #spared;

  constructor(registry: Registry, health: Health, readings: () => EngineReadings) {
    const registers = [registry];
    this.#skipped = new Counter({
      name: "p4cache_evictions_skipped_total",
      help: "Files that eviction came upon and left, by reason",
      labelNames: ["reason"],
      registers,
    });
    for (const reason of SKIP_REASONS) this.#skipped.inc({ reason }, 0);
    this.#reconciles = new Counter({
      name: "p4cache_reconciles_total",
      help: "Comparisons of the depot with the manifest that ended",
      registers,
    });
    this.#reconcileFiles = new Counter({
      name: "p4cache_reconcile_files_total",
      help: "Files such comparisons looked at, found changed, dropped, or could not read",
      labelNames: ["result"],
      registers,
    });
    for (const result of ["found", "changed", "dropped", "problem"]) {
      this.#reconcileFiles.inc({ result }, 0);
    }
    this.#reconcileSeconds = new Gauge({
      name: "p4cache_reconcile_duration_seconds",
      help: "Time of the last comparison",
      registers,
    });
    this.#reconcileLast = new Gauge({
      name: "p4cache_reconcile_last_timestamp_seconds",
      help: "When the last comparison ended",
      registers,
    });
    this.#removed = new Counter({
      name: "p4cache_objects_removed_total",
      help: "Objects of deleted files removed from the primary",
      registers,
    });
    this.#copied = new Counter({
      name: "p4cache_objects_copied_total",
      help: "Objects copied to a new name on the server instead of being uploaded",
      registers,
    });
    this.#spared = new Counter({
      name: "p4cache_uploads_spared_total",
      help: "Dirty files whose version was found in storage already",
      registers,
    });
    const gauge = (name: string, help: string, value: (r: EngineReadings) => number) => {
      new Gauge({
        name: `p4cache_${name}`,
        help,
        registers,
        collect() {
          this.set(value(readings()));
        },
      });
    };
    gauge("disk_free_bytes", "Free bytes of the depot's filesystem", (r) => r.freeBytes);
    gauge("disk_free_inodes", "Free inodes of the depot's filesystem", (r) => r.freeInodes);
    gauge("dirty_bytes", "Bytes waiting for upload", (r) => r.dirtyBytes);
    gauge(
      "oldest_dirty_age_seconds",
      "Age of the file that has waited longest for its upload",
      (r) => r.oldestDirtySeconds,
    );
    new Gauge({
      name: "p4cache_degraded",
      help: "1 while the condition holds",
      labelNames: ["condition"],
      registers,
      collect() {
        for (const condition of CONDITIONS) {
          this.set({ condition }, health.isRaised(condition) ? 1 : 0);
        }
      },
    });
  }

  evictionSkipped(reason: SkipReason): void {
    this.#skipped.inc({ reason });
  }

  reconciled({ files, changed, dropped, problems, seconds }: ReconcileFigures): void {
    this.#reconciles.inc();
    this.#reconcileFiles.inc({ result: "found" }, files);
    this.#reconcileFiles.inc({ result: "changed" }, changed);
    this.#reconcileFiles.inc({ result: "dropped" }, dropped);
    this.#reconcileFiles.inc({ result: "problem" }, problems);
    this.#reconcileSeconds.set(seconds);
    this.#reconcileLast.setToCurrentTime();
  }

  objectRemoved(): void {
    this.#removed.inc();
  }

  uploadSpared(): void {
    this.#spared.inc();
  }

  objectCopied(): void {
    this.#copied.inc();
  }
}
