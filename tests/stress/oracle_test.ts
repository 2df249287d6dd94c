/** The oracle run, as long as every change can afford it. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { mayWatch } from "../e2e/daemon_process.ts";
import { runOracle } from "./oracle.ts";

const OPERATIONS = 20_000;

if (!mayWatch()) console.log("the oracle run is skipped: it needs CAP_SYS_ADMIN");

Deno.test({
  name: "P1–P3: files that come and go all the time are what they would be in a plain directory",
  ignore: !mayWatch(),
  fn: async () => {
    const seed = Date.now() % 1_000_000;
    console.log(`seed ${seed}; again with: deno task oracle --seed ${seed} --ops ${OPERATIONS}`);
    const { evictions, restores } = await runOracle(seed, OPERATIONS);
    console.log(`${evictions} evictions, ${restores} restores`);
    // Else it showed nothing.
    assertGreater(evictions, OPERATIONS / 200);
    assertGreater(restores, OPERATIONS / 200);
  },
});
