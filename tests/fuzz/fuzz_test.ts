/** A short run of libFuzzer on each C part that reads bytes from outside. @module */

import { assertMatch } from "deno-std/assert/mod.js";
import { fuzz, FUZZ_TARGETS, hasFuzzer } from "./fuzz.ts";

const SECONDS = 4;

const isThere = hasFuzzer();
if (!isThere) console.log("libFuzzer is skipped: no clang with libclang_rt.fuzzer");

for (const target of FUZZ_TARGETS) {
  Deno.test({
    name: `no bytes that libFuzzer makes up break: ${target.name}`,
    ignore: !isThere,
    fn: async () => {
      const dir = await Deno.makeTempDir({ prefix: "fuzz" });
      try {
        assertMatch(await fuzz(target, dir, SECONDS), /^Done \d{4,} runs/);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
