/** Appends against evictions, as many as every change can afford. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { mayWatch } from "../e2e/daemon_process.ts";
import { faultyStorageMissing } from "./faulty_storage.ts";
import { runRaces } from "./races.ts";

const APPENDS = 1_000_000, APPENDS_WITH_FAULTS = 8_000;

if (!mayWatch()) console.log("appends against evictions are skipped: they need CAP_SYS_ADMIN");
if (faultyStorageMissing !== null) {
  console.log(`the same behind a bad network is skipped: ${faultyStorageMissing}`);
}

Deno.test({
  name:
    "P1: no append is lost to an eviction in that very moment, with the preload library and without",
  ignore: !mayWatch(),
  fn: async () => {
    const seed = Date.now() % 1_000_000;
    console.log(`seed ${seed}; again with: deno task races --seed ${seed} --appends ${APPENDS}`);
    const { withShim, withoutShim, evictions } = await runRaces(seed, APPENDS);
    console.log(`${withShim} and ${withoutShim} appends, ${evictions} evictions`);
    // Else it showed nothing.
    assertGreater(evictions, APPENDS / 50);
  },
});

Deno.test({
  name: "P1, P3: nor where the storage is behind a network that breaks, and is away at times",
  ignore: !mayWatch() || faultyStorageMissing !== null,
  fn: async () => {
    const seed = Date.now() % 1_000_000, appends = APPENDS_WITH_FAULTS;
    console.log(
      `seed ${seed}; again with: deno task races --faults --seed ${seed} --appends ${appends}`,
    );
    const { withShim, withoutShim, evictions, failures } = await runRaces(seed, appends, true);
    console.log(
      `${withShim} and ${withoutShim} appends, ${evictions} evictions, ${failures} failed attempts`,
    );
    assertGreater(failures, 20);
    assertGreater(evictions, appends / 50);
  },
});
