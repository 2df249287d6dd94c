/**
 * Looks now and then whether the figures are within their thresholds, and says in one word how the
 * daemon is.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import type { Condition, ConditionName, Health } from "./health.ts";
import type { Recently } from "./rates.ts";

/** Healthy: nothing is wrong. Degraded: it goes on with less. Failing: somebody has to act now. */
export type HealthState = "healthy" | "degraded" | "failing";

/** The figures that have thresholds. */
export interface HealthReadings {
  readonly oldestDirtySeconds: number;
  readonly recently: Recently;
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** Settings with the thresholds; 0 turns each off. */
export type HealthLimits = Pick<
  Config,
  | "healthDirtyAgeSeconds"
  | "healthFailurePercent"
  | "healthBackendDownSeconds"
  | "healthDiskFreePercent"
>;

/** Conditions in which p4d gets errors, or soon will. */
const FAILING: ReadonlySet<ConditionName> = new Set([
  "manifest_unwritable",
  "disk_low",
  "depot_io",
  "fenced",
]);

/** With fewer transfers than this a share of failures says nothing. */
const ENOUGH_TRANSFERS = 10;

/** Raises and clears the conditions that follow from figures. */
export function watchFigures(health: Health, limits: HealthLimits, now: HealthReadings): void {
  const set = (name: ConditionName, isWrong: boolean, reason: () => string) => {
    if (isWrong) health.raise(name, reason());
    else health.clear(name);
  };
  const age = limits.healthDirtyAgeSeconds;
  set(
    "uploads_late",
    age > 0 && now.oldestDirtySeconds > age,
    () => `a file has waited ${now.oldestDirtySeconds} s for its upload, allowed are ${age}`,
  );
  const { done, failed } = now.recently;
  const share = limits.healthFailurePercent;
  const percent = done + failed === 0 ? 0 : 100 * failed / (done + failed);
  set(
    "transfers_failing",
    share > 0 && done + failed >= ENOUGH_TRANSFERS && percent > share,
    () => `${failed} of ${done + failed} transfers failed in the last five minutes`,
  );
  const free = limits.healthDiskFreePercent;
  const freePercent = now.totalBytes === 0 ? 100 : 100 * now.freeBytes / now.totalBytes;
  set(
    "disk_filling",
    free > 0 && freePercent < free,
    () => `${freePercent.toFixed(1)} % of the depot's filesystem is free, wanted are ${free}`,
  );
}

/** How the daemon is. */
export function stateOf(
  conditions: readonly Condition[],
  { healthBackendDownSeconds: down }: HealthLimits,
  nowMs: number,
): HealthState {
  if (conditions.length === 0) return "healthy";
  const isFailing = conditions.some(({ name, sinceMs }) =>
    FAILING.has(name) || (name === "backend_down" && down > 0 && nowMs - sinceMs > down * 1000)
  );
  return isFailing ? "failing" : "degraded";
}
