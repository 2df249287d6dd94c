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

/** The machine's clocks. */
export function machineClock(): LeaseClock {
  let monotonicMs = performance.now(), wallMs = Date.now();
  let holderMs = monotonicMs;
  return {
    nowMs: () => performance.now(),
    holderMs: () => {
      // The monotonic clock stands still while the machine sleeps; the wall clock does not. Where somebody
      // sets that one forward, the lease is renewed once too often.
      const nowMs = performance.now(), nowWallMs = Date.now();
      holderMs += Math.max(nowMs - monotonicMs, nowWallMs - wallMs, 0);
      monotonicMs = nowMs;
      wallMs = nowWallMs;
      return holderMs;
    },
    pause,
  };
}
