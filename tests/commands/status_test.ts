/** The status for people: what is worth a look is told in it, and nothing where all is well. @module */

import { assert, assertMatch } from "deno-std/assert/mod.js";
import type { Status } from "../../src/admin/status.ts";
import { statusText } from "../../src/commands/status.ts";

const WELL = {
  version: "1",
  pid: 7,
  depot: "/d",
  mode: "readwrite",
  uptimeSeconds: 5,
  state: "healthy",
  watching: "filesystem mark, by handle",
  storage: { primary: { label: "nfs:/s", reachable: true }, secondary: null },
  replica: null,
  files: { total: 0, clean: 0, dirty: 0, uploading: 0, restoring: 0 },
  renamesWaiting: 0,
  oldestDirtySeconds: null,
  cache: { bytes: 0, lowWatermarkBytes: 1, maxBytes: 2 },
  disk: { freeBytes: 1, totalBytes: 2, freeInodes: 1, totalInodes: 2 },
  degraded: [],
  drained: null,
  recent: [],
  totals: { uploadsOk: 0, uploadsFailed: 0, restoresOk: 0, restoresFailed: 0, evictions: 0 },
} as unknown as Status; // the rest is not shown

Deno.test("status counts what the log warned of, and renames that wait for the storage", () => {
  assert(!/^(Directories|Warnings|Degraded|Drained):/m.test(statusText(WELL)));
  const time = new Date(Date.now() - 61_000).toISOString();
  const line = { time, level: "warning", module: "rename", message: "d/ stays" } as const;
  const text = statusText({ ...WELL, renamesWaiting: 2, recent: [line, line] });
  assertMatch(text, /^Directories: +2 renames to be carried out in storage\n/m);
  assertMatch(text, /^Warnings: +2 lately in the log, the last 1m \d+s ago: d\/ stays\n/m);
});
