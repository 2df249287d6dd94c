/** Planted bugs are found. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { misfits } from "../mutations/planting.ts";
import { PLANTED_BUGS } from "./planted_bugs.ts";
import { PLANTED_HOST_BUGS } from "./planted_host_bugs.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

Deno.test("every planted bug can still be planted", () => {
  const bugs = [...PLANTED_BUGS, ...PLANTED_HOST_BUGS];
  assertEquals(bugs.flatMap(({ name, edits }) => misfits(name, edits)), []);
});

// Those that are found in a few seconds; `deno task sim:mutations` looks for all.
for (const only of ["a restore's", "a plain rename", "the lease", "tombstone", "put"]) {
  Deno.test(`the simulation finds the planted bugs about: ${only}`, async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `${ROOT}tests/sim/mutations.ts`, `--only=${only}`],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    console.log(text.trim());
    assertEquals(code, 0, text);
  });
}
