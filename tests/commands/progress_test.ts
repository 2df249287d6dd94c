/** The line that shows how far long work is. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { progressLine } from "../../src/commands/progress.ts";

const options = {
  barsize: 10,
  barCompleteString: "##########",
  barIncompleteString: "..........",
  barGlue: "",
};

Deno.test("a bar has share, amount, rate, time so far and time left", () => {
  const half = { value: 50, total: 100, progress: 0.5 };
  assertEquals(
    progressLine("files", options, half, 25, "main/a"),
    "#####..... 50% | 50/100 files | 2/s | 25s, about 25s left | main/a",
  );
});

Deno.test("bytes are shown as sizes", () => {
  const quarter = { value: 2 ** 30, total: 2 ** 32, progress: 0.25 };
  assertEquals(
    progressLine("bytes", options, quarter, 64, ""),
    "###....... 25% | 1 GiB/4 GiB | 16 MiB/s | 1m 4s, about 3m 12s left",
  );
});

Deno.test("where the end is not known there is no bar, and nothing is foretold", () => {
  const some = { value: 12, total: 0, progress: 0 };
  assertEquals(
    progressLine("files", options, some, 6, "3 MiB"),
    "12 files | 2/s | 6s | 3 MiB",
  );
});
