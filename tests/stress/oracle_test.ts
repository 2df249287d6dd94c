/** The oracle run, as long as every change can afford it. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { mayWatch } from "../e2e/daemon_process.ts";
import { faultyStorageMissing } from "./faulty_storage.ts";
import { runOracle } from "./oracle.ts";

const OPERATIONS = 20_000, OPERATIONS_WITH_FAULTS = 4_000;

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

if (faultyStorageMissing !== null) {
  console.log(`the oracle run behind a bad network is skipped: ${faultyStorageMissing}`);
}

Deno.test({
  name: "P1–P3: the same behind a network that is slow and breaks connections",
  ignore: !mayWatch() || faultyStorageMissing !== null,
  fn: async () => {
    const seed = Date.now() % 1_000_000, operations = OPERATIONS_WITH_FAULTS;
    console.log(
      `seed ${seed}; again with: deno task oracle --faults --seed ${seed} --ops ${operations}`,
    );
    const { evictions, restores, failures } = await runOracle(seed, operations, 4, true);
    console.log(`${evictions} evictions, ${restores} restores, ${failures} failed attempts`);
    assertGreater(failures, 3);
    assertGreater(evictions, operations / 200);
    assertGreater(restores, operations / 200);
  },
});
