/**
 * The daemon's pulse: samples the rates, looks at the figures that have thresholds, and notices when
 * nothing is to do any more.
 *
 * @module
 */

import type { Health } from "./health.ts";
import { type HealthLimits, type HealthReadings, watchFigures } from "./health_watch.ts";
import { type RateMeter, SAMPLE_MS } from "./rates.ts";

/**
 * Quiet beats before the daemon rests: by then the runtime has collected what the work left. And how many
 * later it rests again, since a comparison of the depot is work that nothing counts.
 */
const RESTS_AFTER = 2, RESTS_EVERY = 60;

/**
 * Starts it.
 * @param limits Read at each look.
 * @param rest Called when nothing was to do for a while, and now and then while that lasts.
 *   It does not throw.
 * @returns What stops it; resolves when no rest is in progress.
 */
export function startPulse(
  rates: RateMeter,
  health: Health,
  limits: HealthLimits,
  readings: () => Omit<HealthReadings, "recently">,
  rest: () => Promise<void>,
): () => Promise<void> {
  let quietBeats = 0, resting = Promise.resolve();
  const beat = () => {
    rates.sample();
    watchFigures(health, limits, { ...readings(), recently: rates.recently() });
    quietBeats = rates.isQuiet() ? quietBeats + 1 : 0;
    if (quietBeats % RESTS_EVERY === RESTS_AFTER) resting = rest();
  };
  const timer = setInterval(beat, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return resting;
  };
}
