/** The daemon killed many times over, as often as every change can afford it. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { hasProgram, mayWatch } from "../e2e/daemon_process.ts";
import { faultyStorageMissing } from "./faulty_storage.ts";
import { runKills } from "./kills.ts";

const CYCLES = 160, CYCLES_WITH_FAULTS = 40;

const missing = !mayWatch()
  ? "it needs CAP_SYS_ADMIN"
  : !hasProgram("strace")
  ? "it needs strace"
  : null;
if (missing !== null) console.log(`killing the daemon is skipped: ${missing}`);
if (faultyStorageMissing !== null) {
  console.log(`killing it behind a bad network is skipped: ${faultyStorageMissing}`);
}

async function kill(cycles: number, withFaults: boolean): Promise<void> {
  const seed = Date.now() % 1_000_000, flag = withFaults ? " --faults" : "";
  console.log(`seed ${seed}; again with: deno task kills${flag} --seed ${seed} --cycles ${cycles}`);
  const { points, evicted } = await runKills(seed, cycles, withFaults);
  for (const [point, count] of points) console.log(`${String(count).padStart(4)}  ${point}`);
  console.log(`${String(evicted).padStart(4)}  files were only in the storage`);
  // Else it showed too little.
  assertGreater(points.size, 4);
  assertGreater(evicted, cycles);
}

Deno.test({
  name: "P1, P2, P4: a daemon that is killed at any moment loses nothing, and the next one goes on",
  ignore: missing !== null,
  fn: () => kill(CYCLES, false),
});

Deno.test({
  name: "P1–P4: nor does one whose storage is behind a network that breaks, and is away at times",
  ignore: missing !== null || faultyStorageMissing !== null,
  fn: () => kill(CYCLES_WITH_FAULTS, true),
});
