/** The stats line. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import type { GaugeSnapshot, Totals } from "../../src/observe/metrics.ts";
import { statsLine } from "../../src/observe/stats_line.ts";

const GIB = 1024 ** 3;

Deno.test("the stats line is the contract's, to the letter", () => {
  const totals = {
    uploadsOk: 890234,
    uploadsFailed: 12,
    restoresOk: 45021,
    restoresFailed: 3,
    restoresSecondary: 120,
    evictions: 323385,
    shimFetched: 44901,
    shimNotFound: 230,
  } as Totals;
  const now = {
    cacheBytes: 245.3 * GIB,
    cacheMaxBytes: 500 * GIB,
    total: 1523400,
    dirty: 12,
    uploading: 3,
    clean: 1200000,
  } as GaugeSnapshot;
  assertEquals(
    statsLine(totals, now),
    "[stats] cache=245.3/500.0 GB | files: 1523400 total, 12 dirty, 3 uploading, 1200000 clean" +
      " | uploads: 890234 ok, 12 fail | restores: 45021 ok, 3 fail (120 secondary)" +
      " | evictions: 323385 | shim: 44901 fetch, 230 miss",
  );
});
