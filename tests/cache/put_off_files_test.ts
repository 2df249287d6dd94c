/** When files whose upload failed are tried again. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import {
  LONGEST_DELAY_MS,
  LONGEST_UNREACHED_MS,
  PutOffFiles,
} from "../../src/cache/put_off_files.ts";
import type { DepotPath } from "../../src/depot_path.ts";

const FILE = "a" as DepotPath;

/** The waits after so many failures, ms. */
function waits(failures: number, longestMs: number): number[] {
  let nowMs = 0;
  const putOff = new PutOffFiles(() => nowMs);
  return Array.from({ length: failures }, () => {
    putOff.postpone(FILE, longestMs);
    const sinceMs = nowMs;
    while (putOff.has(FILE)) nowMs += 500;
    return nowMs - sinceMs;
  });
}

Deno.test("a file that failed again is tried later every time, up to a minute", () => {
  const expected = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
  assertEquals(waits(9, LONGEST_DELAY_MS), expected);
});

Deno.test("a file whose storage was not reached is tried within seconds of its return", () => {
  assertEquals(waits(6, LONGEST_UNREACHED_MS), [500, 1000, 2000, 4000, 5000, 5000]);
});

Deno.test("an event for a file, or somebody who waits, ends the wait", () => {
  const putOff = new PutOffFiles(() => 0);
  putOff.postpone(FILE);
  putOff.forget(FILE);
  assertEquals(putOff.has(FILE), false);
  putOff.postpone(FILE);
  putOff.clear();
  assertEquals(putOff.has(FILE), false);
});
