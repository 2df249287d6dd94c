/**
 * What is wrong with the daemon right now: named conditions, each with its reason and since when.
 *
 * The part that finds something wrong raises a condition, and clears it when that is over; `status`, the
 * metrics and the log show it. A condition says that the daemon goes on with less, never that it ended.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";

/** The conditions there are; names are part of the metrics and of `status`. */
export const CONDITIONS = [
  /** The primary cannot be reached or refuses us: files wait for upload, restores fail. */
  "backend_down",
  /** The manifest cannot be written: nothing is evicted, changes wait in memory. */
  "manifest_unwritable",
  /** The depot's filesystem has less free space or inodes than the floor, and nothing can be evicted. */
  "disk_low",
  /** The cache is above its watermark, and nothing can be evicted. */
  "cache_over",
  /** Depot files cannot be read or written (read-only filesystem, EIO, out of descriptors). */
  "depot_io",
  /** Depot files that the daemon's user may not read: they are not uploaded. */
  "depot_denied",
  /** Events were lost, and the comparison that makes up for them has not ended. */
  "events_lost",
  /** A file waits longer for its upload than the threshold allows. */
  "uploads_late",
  /** More of the recent transfers failed than the threshold allows. */
  "transfers_failing",
  /** Less of the depot's filesystem is free than the threshold asks for. */
  "disk_filling",
  /** The lease of the storage is not held at the moment: nothing is uploaded or evicted. */
  "lease_waiting",
  /** Another daemon took the lease of the storage: nothing is written until somebody decides. */
  "fenced",
] as const;

/** Name of a condition. */
export type ConditionName = typeof CONDITIONS[number];

/** One thing that is wrong. */
export interface Condition {
  readonly name: ConditionName;
  /** One line for people. */
  readonly reason: string;
  readonly sinceMs: number;
}

/** A condition, and when it is over by itself: never, unless it says so. */
interface Raised extends Condition {
  readonly untilMs: number;
}

/** See the module's description. */
export class Health {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #raised = new Map<ConditionName, Raised>();

  constructor(log: Logger, nowMs: () => number = Date.now) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  /** What is wrong, the oldest first; empty when all is well. */
  get conditions(): readonly Condition[] {
    this.#endDue();
    return Array.from(
      this.#raised.values(),
      ({ name, reason, sinceMs }) => ({ name, reason, sinceMs }),
    );
  }

  isRaised(name: ConditionName): boolean {
    this.#endDue();
    return this.#raised.has(name);
  }

  /**
   * Says that something is wrong; told in the log once, however often it is raised.
   * @param forMs It is over when it was not raised again for so long; without it, {@link clear} ends it.
   */
  raise(name: ConditionName, reason: string, forMs = Infinity): void {
    this.#endDue();
    const before = this.#raised.get(name);
    const nowMs = this.#nowMs();
    const sinceMs = before?.sinceMs ?? nowMs;
    this.#raised.set(name, { name, reason, sinceMs, untilMs: nowMs + forMs });
    if (before === undefined) this.#log.warning(`Degraded (${name}): ${reason}`);
  }

  /** Says that it is over. */
  clear(name: ConditionName): void {
    const before = this.#raised.get(name);
    if (before === undefined) return;
    this.#raised.delete(name);
    const seconds = Math.round((this.#nowMs() - before.sinceMs) / 1000);
    this.#log.info(`Recovered (${name}) after ${seconds} s`);
  }

  #endDue(): void {
    const nowMs = this.#nowMs();
    for (const { name, untilMs } of this.#raised.values()) if (untilMs <= nowMs) this.clear(name);
  }
}
