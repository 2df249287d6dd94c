/**
 * How the two sides of the lease measure time.
 *
 * @module
 */

import { pause } from "../storage/backoff.ts";

/** A daemon's clocks; both only go forward, and count from anywhere. */
export interface LeaseClock {
  /** For who waits for another to end: time that certainly went by, ms. */
  nowMs(): number;
  /** For who may write: never behind {@link nowMs}, and further where the machine slept, ms. */
  holderMs(): number;
  /** Waits; returns early when the signal is aborted. */
  pause(ms: number, signal: AbortSignal): Promise<void>;
}

/**
 * Least difference between the two clocks' ways that is one, ms. Each is read in whole steps of its own, a
 * millisecond or so: were such differences counted, the clock of a daemon that asks often would go the
 * faster the more it has to do. A sleep that is shorter is nothing beside the quarter of the time to live
 * that a holder leaves.
 */
const LEAST_JUMP_MS = 100;

/**
 * The machine's clocks.
 * @param monotonicMs Stands still while the machine sleeps.
 * @param wallMs Does not. Where somebody sets it forward, the lease is renewed once too often.
 */
export function machineClock(
  monotonicMs: () => number = () => performance.now(),
  wallMs: () => number = Date.now,
): LeaseClock {
  let wallIsAheadMs = wallMs() - monotonicMs(), sleptMs = 0;
  return {
    nowMs: monotonicMs,
    holderMs: () => {
      const nowMs = monotonicMs();
      const jumpMs = wallMs() - nowMs - wallIsAheadMs;
      if (Math.abs(jumpMs) >= LEAST_JUMP_MS) {
        wallIsAheadMs += jumpMs;
        sleptMs += Math.max(jumpMs, 0);
      }
      return nowMs + sleptMs;
    },
    pause,
  };
}
