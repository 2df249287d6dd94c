/**
 * The limit of requests in flight against played storages: near, far, slow, and one that throttles.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { AdaptiveLimit } from "../../src/cache/adaptive_limit.ts";

interface Storage {
  /** Time of one request while `inFlight` are there, ms. */
  readonly latencyMs: (inFlight: number) => number;
  /** In flight above which it asks to slow down. */
  readonly throttlesAbove?: number;
}

/** Plays so many ms with always more to do; returns the limit at the end and requests a second. */
function play(limit: AdaptiveLimit, storage: Storage, lengthMs: number): [number, number] {
  const ends: number[] = [];
  let nowMs = 1, done = 0;
  const start = () => {
    while (ends.length < limit.value) {
      ends.push(nowMs + storage.latencyMs(ends.length + 1));
      ends.sort((a, b) => a - b);
      if (ends.length > (storage.throttlesAbove ?? Infinity)) limit.throttled(nowMs);
    }
  };
  for (start(); ends[0]! < lengthMs; start()) {
    nowMs = ends[0]!;
    ends.shift();
    done++;
    limit.done(true, nowMs);
  }
  return [limit.value, done * 1000 / lengthMs];
}

const bounds = { min: 16, max: 512 };

Deno.test("a distant storage gets as many requests as it can take", () => {
  const limit = new AdaptiveLimit(() => bounds);
  const [value, rate] = play(limit, { latencyMs: () => 50 }, 10_000);
  assertEquals(value, 512);
  assert(rate > 5000, `${rate}/s`);
});

Deno.test("a storage that does no more at a time is not crowded", () => {
  // 2 ms each, 16 at a time: more only wait longer.
  const latencyMs = (inFlight: number) => 2 * Math.max(1, inFlight / 16);
  const [value] = play(new AdaptiveLimit(() => bounds), { latencyMs }, 10_000);
  assert(value <= 24, `${value}`);
});

Deno.test("the limit settles near the point from which on more bring nothing", () => {
  const latencyMs = (inFlight: number) => 20 * Math.max(1, inFlight / 100);
  const [value, rate] = play(new AdaptiveLimit(() => bounds), { latencyMs }, 20_000);
  assert(value >= 80 && value <= 200, `${value}`);
  assert(rate > 4000, `${rate}/s`);
});

Deno.test("a storage that throttles is asked for less, and the limit stays in its bounds", () => {
  const limit = new AdaptiveLimit(() => bounds);
  const [value] = play(limit, { latencyMs: () => 50, throttlesAbove: 60 }, 20_000);
  assert(value <= 60, `${value}`);
  for (let i = 1; i < 100; i++) limit.throttled(1e6 + i * 2000);
  assertEquals(limit.value, 16);
});

Deno.test("a limit that nobody waits for is not raised", () => {
  const limit = new AdaptiveLimit(() => bounds);
  for (let i = 0; i < 10_000; i++) limit.done(false, i);
  assertEquals(limit.value, 16);
});

Deno.test("bounds that change hold at once", () => {
  let current = bounds;
  const limit = new AdaptiveLimit(() => current);
  play(limit, { latencyMs: () => 50 }, 10_000);
  current = { min: 4, max: 8 };
  assertEquals(limit.value, 8);
  current = { min: 32, max: 8 };
  assertEquals(limit.value, 32);
});
