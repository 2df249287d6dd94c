/**
 * Metrics of replicas, and of what a primary tells them.
 *
 * @module
 */

import { Counter, Gauge, type Registry } from "prom-client";

/** How a replica's look at the storage can end. */
const REVALIDATION_RESULTS = [
  "unchanged",
  "replaced",
  "local",
  "absent",
  "late",
  "failed",
] as const;

/**
 * See {@link REVALIDATION_RESULTS}: `local`: the file is p4d's own; `absent`: the storage has none any more,
 * the copy stays; `late`: not within the time; `failed`: the storage could not be asked.
 */
export type RevalidationResult = typeof REVALIDATION_RESULTS[number];

/** Values read at the moment of asking. */
export interface ReplicaReadings {
  /** Whether the change feed is being followed; null on a primary. */
  readonly isFollowed: boolean | null;
  /** Changes that wait to be told; null on a replica. */
  readonly pendingChanges: number | null;
}

/** See the module. */
export class ReplicaMetrics {
  readonly #revalidations;
  readonly #changes;
  readonly #gaps;

  constructor(registry: Registry, readings: () => ReplicaReadings) {
    const registers = [registry];
    this.#revalidations = new Counter({
      name: "p4cache_revalidations_total",
      help: "Archives that a replica compared with the storage, by result",
      labelNames: ["result"],
      registers,
    });
    for (const result of REVALIDATION_RESULTS) this.#revalidations.inc({ result }, 0);
    this.#changes = new Counter({
      name: "p4cache_feed_changes_total",
      help: "Changes that the change feed told a replica",
      registers,
    });
    this.#gaps = new Counter({
      name: "p4cache_feed_gaps_total",
      help: "Times a replica may have missed changes, so that it took all archives for old",
      registers,
    });
    new Gauge({
      name: "p4cache_feed_followed",
      help: "1 while a replica follows the change feed",
      registers,
      collect() {
        this.set(readings().isFollowed === true ? 1 : 0);
      },
    });
    new Gauge({
      name: "p4cache_feed_pending_changes",
      help: "Changes that a primary has not told yet",
      registers,
      collect() {
        this.set(readings().pendingChanges ?? 0);
      },
    });
  }

  revalidated(result: RevalidationResult): void {
    this.#revalidations.inc({ result });
  }

  changed(): void {
    this.#changes.inc();
  }

  gap(): void {
    this.#gaps.inc();
  }
}
