/** The daemon killed many times over, as often as every change can afford it. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { hasProgram, mayWatch } from "../e2e/daemon_process.ts";
import { runKills } from "./kills.ts";

const CYCLES = 200;

const missing = !mayWatch()
  ? "it needs CAP_SYS_ADMIN"
  : !hasProgram("strace")
  ? "it needs strace"
  : null;
if (missing !== null) console.log(`killing the daemon is skipped: ${missing}`);

Deno.test({
  name: "P1, P2, P4: a daemon that is killed at any moment loses nothing, and the next one goes on",
  ignore: missing !== null,
  fn: async () => {
    const seed = Date.now() % 1_000_000;
    console.log(`seed ${seed}; again with: deno task kills --seed ${seed} --cycles ${CYCLES}`);
    const counts = await runKills(seed, CYCLES);
    for (const [point, count] of counts) console.log(`${String(count).padStart(4)}  ${point}`);
    // Else it showed too little.
    assertGreater(counts.size, 4);
  },
});
