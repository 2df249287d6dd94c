/** Paths as people type them. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { depotPathOf } from "../../src/commands/arguments.ts";
import { ConfigError } from "../../src/errors.ts";

Deno.test("a file of the depot may be named by any of the depot's names, also when it is not here", () => {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-arguments-" });
  try {
    Deno.mkdirSync(`${dir}/hx/depots/main`, { recursive: true });
    Deno.mkdirSync(`${dir}/hx/depots2`);
    Deno.symlinkSync(`${dir}/hx`, `${dir}/p4`);
    for (const depot of [`${dir}/hx/depots`, `${dir}/p4/depots`]) {
      for (const name of ["main/a,v", `${dir}/hx/depots/main/a,v`, `${dir}/p4/depots/main/a,v`]) {
        assertEquals(depotPathOf(name, depot), "main/a,v");
      }
      for (const name of [".", depot, `${dir}/p4/depots/`]) {
        assertEquals(depotPathOf(name, depot), "");
      }
      for (
        const name of [`${dir}/p4/depots2/a,v`, "/etc/passwd", `${dir}/p4/depots/../a`, "../a"]
      ) {
        assertThrows(() => depotPathOf(name, depot), ConfigError, "allowed is a path below");
      }
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
