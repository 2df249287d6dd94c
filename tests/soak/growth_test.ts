/** When the soak says that a figure grows. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { courseOf } from "./growth.ts";

const ALLOWED = { slack: 5, share: 0.1 };

Deno.test("a figure that swings, or fills up at first, does not grow", () => {
  const swings = Array.from({ length: 40 }, (_, i) => 100 + (i % 5) * 20);
  assertEquals(courseOf(swings, ALLOWED).grows, false);
  const fillsUp = Array.from({ length: 40 }, (_, i) => Math.min(100, i * 12));
  assertEquals(courseOf(fillsUp, ALLOWED).grows, false);
});

Deno.test("a figure that rises slowly, whatever its swings, grows", () => {
  const leaks = Array.from({ length: 40 }, (_, i) => 100 + (i % 5) * 10 + i * 1.5);
  assertEquals(courseOf(leaks, ALLOWED).grows, true);
  const oneMoreNowAndThen = Array.from({ length: 40 }, (_, i) => 30 + Math.floor(i / 3));
  assertEquals(courseOf(oneMoreNowAndThen, { slack: 5, share: 0 }).grows, true);
});

Deno.test("too few samples are not judged", () => {
  assertThrows(() => courseOf([1, 2, 3], ALLOWED), RangeError, "run longer");
});
