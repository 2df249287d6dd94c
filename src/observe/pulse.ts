/**
 * The daemon's pulse: samples the rates and looks at the figures that have thresholds.
 *
 * @module
 */

import type { Health } from "./health.ts";
import { type HealthLimits, type HealthReadings, watchFigures } from "./health_watch.ts";
import { type RateMeter, SAMPLE_MS } from "./rates.ts";

/**
 * Starts it.
 * @param limits Read at each look.
 * @returns What stops it.
 */
export function startPulse(
  rates: RateMeter,
  health: Health,
  limits: HealthLimits,
  readings: () => Omit<HealthReadings, "recently">,
): () => void {
  const beat = () => {
    rates.sample();
    watchFigures(health, limits, { ...readings(), recently: rates.recently() });
  };
  const timer = setInterval(beat, SAMPLE_MS);
  return () => clearInterval(timer);
}
