/** Appends against evictions, as many as every change can afford. @module */

import { assertGreater } from "deno-std/assert/mod.js";
import { mayWatch } from "../e2e/daemon_process.ts";
import { runRaces } from "./races.ts";

const APPENDS = 100_000;

if (!mayWatch()) console.log("appends against evictions are skipped: they need CAP_SYS_ADMIN");

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
