/** Figures, thresholds, and the daemon in one word. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { Health } from "../../src/observe/health.ts";
import {
  type HealthLimits,
  type HealthReadings,
  stateOf,
  watchFigures,
} from "../../src/observe/health_watch.ts";
import { getLog } from "../../src/observe/logging.ts";

const LIMITS: HealthLimits = {
  healthDirtyAgeSeconds: 100,
  healthFailurePercent: 10,
  healthBackendDownSeconds: 300,
  healthDiskFreePercent: 5,
};
const FINE: HealthReadings = {
  oldestDirtySeconds: 100,
  recently: { done: 90, failed: 10 },
  freeBytes: 5,
  totalBytes: 100,
};

function conditions(limits: HealthLimits, readings: HealthReadings): string[] {
  const health = new Health(getLog("health"));
  watchFigures(health, limits, readings);
  return health.conditions.map(({ name }) => name);
}

Deno.test("a figure beyond its threshold degrades, at the threshold it does not", () => {
  assertEquals(conditions(LIMITS, FINE), []);
  assertEquals(conditions(LIMITS, { ...FINE, oldestDirtySeconds: 101 }), ["uploads_late"]);
  const failing = { ...FINE, recently: { done: 89, failed: 11 } };
  assertEquals(conditions(LIMITS, failing), ["transfers_failing"]);
  assertEquals(conditions(LIMITS, { ...FINE, freeBytes: 4 }), ["disk_filling"]);
});

Deno.test("thresholds of 0 are off, and a few transfers say nothing", () => {
  const off: HealthLimits = {
    healthDirtyAgeSeconds: 0,
    healthFailurePercent: 0,
    healthBackendDownSeconds: 0,
    healthDiskFreePercent: 0,
  };
  const bad = {
    oldestDirtySeconds: 1e9,
    recently: { done: 0, failed: 99 },
    freeBytes: 0,
    totalBytes: 100,
  };
  assertEquals(conditions(off, bad), []);
  assertEquals(conditions(LIMITS, { ...FINE, recently: { done: 0, failed: 9 } }), []);
});

Deno.test("what is over is cleared", () => {
  const health = new Health(getLog("health"));
  watchFigures(health, LIMITS, { ...FINE, oldestDirtySeconds: 101 });
  watchFigures(health, LIMITS, FINE);
  assertEquals(health.conditions, []);
});

Deno.test("a backend that is down degrades, and after its time fails; a lost manifest fails at once", () => {
  let nowMs = 0;
  const health = new Health(getLog("health"), () => nowMs);
  const state = () => stateOf(health.conditions, LIMITS, nowMs);
  assertEquals(state(), "healthy");
  health.raise("backend_down", "no route");
  assertEquals(state(), "degraded");
  nowMs = 300_000;
  assertEquals(state(), "degraded");
  nowMs = 300_001;
  assertEquals(state(), "failing");
  health.clear("backend_down");
  health.raise("events_lost", "overflow");
  assertEquals(state(), "degraded");
  health.raise("manifest_unwritable", "EIO");
  assertEquals(state(), "failing");
});
