/**
 * Whether a figure of a running daemon grows without end, judged by its samples.
 *
 * A figure that only swings (garbage collection, batches) has the same middle early and late; a leak
 * lifts the late one. The first part is left out: caches fill, code is compiled, pools are opened.
 *
 * @module
 */

/** How much a figure may rise from the early samples to the late ones. */
export interface Allowance {
  /** In its own unit. */
  readonly slack: number;
  /** Share of the early value. */
  readonly share: number;
}

/** How a figure went. */
export interface Course {
  /** Medians of the early and the late samples. */
  readonly early: number;
  readonly late: number;
  readonly grows: boolean;
}

/** Share of the samples at the start that do not count. */
const WARM_UP = 0.25;

/** Fewest samples that say anything. */
const LEAST_SAMPLES = 8;

/** @throws RangeError when there are too few samples. */
export function courseOf(samples: readonly number[], allowance: Allowance): Course {
  const counted = samples.slice(Math.ceil(samples.length * WARM_UP));
  if (counted.length < LEAST_SAMPLES) {
    throw new RangeError(`Cannot judge ${samples.length} samples: too few; run longer`);
  }
  const third = Math.floor(counted.length / 3);
  const early = median(counted.slice(0, third)), late = median(counted.slice(-third));
  const { slack, share } = allowance;
  return { early, late, grows: late > early * (1 + share) + slack };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
