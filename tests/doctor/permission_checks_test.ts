/** Whether the daemon's user may use the depot: owners and modes. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { checkEntries, type Identity } from "../../src/doctor/permission_checks.ts";

/** Nobody's files are these, whoever runs the tests. */
const STRANGER: Identity = { uid: 54321, groups: [54321], overridesModes: false };

function inDepot(modes: { dir: number; file: number }, work: (depot: string) => void): void {
  const depot = Deno.makeTempDirSync({ prefix: "p4cache-doctor-" });
  try {
    Deno.mkdirSync(`${depot}/main`);
    Deno.mkdirSync(`${depot}/.p4cache`, { mode: 0o700 });
    Deno.writeTextFileSync(`${depot}/main/a,v`, "head");
    Deno.chmodSync(`${depot}/main/a,v`, modes.file);
    Deno.chmodSync(`${depot}/main`, modes.dir);
    Deno.chmodSync(depot, 0o777);
    work(depot);
  } finally {
    Deno.chmodSync(`${depot}/main`, 0o700);
    Deno.removeSync(depot, { recursive: true });
  }
}

Deno.test("a directory that the daemon cannot write to is a FAIL that names it", () => {
  inDepot({ dir: 0o755, file: 0o644 }, (depot) => {
    const { level, what } = checkEntries(depot, STRANGER, true);
    assertEquals(level, "FAIL");
    assertStringIncludes(what, `may not write to ${depot}/main (uid ${Deno.uid()}`);
  });
});

Deno.test("a file that the daemon cannot read is a FAIL of a primary, not of a replica", () => {
  inDepot({ dir: 0o777, file: 0o600 }, (depot) => {
    const { level, what } = checkEntries(depot, STRANGER, false);
    assertEquals(level, "FAIL");
    assertStringIncludes(what, `may not read ${depot}/main/a,v`);
    assertEquals(checkEntries(depot, STRANGER, true).level, "OK");
  });
});

Deno.test("owner, group and CAP_DAC_OVERRIDE each give what the kernel gives them", () => {
  inDepot({ dir: 0o770, file: 0o640 }, (depot) => {
    const level = (who: Identity) => checkEntries(depot, who, false).level;
    const uid = Deno.uid(), gid = Deno.gid();
    assertEquals(level(STRANGER), "FAIL");
    assertEquals(level({ ...STRANGER, uid: uid ?? 0 }), "OK");
    assertEquals(level({ ...STRANGER, groups: [54321, gid ?? 0] }), "OK");
    assertEquals(level({ ...STRANGER, overridesModes: true }), "OK");
  });
});
