/** What a command under the shim gets: its variables, and a library that only its user can change. @module */

import { assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import { shimEnvironment } from "../../src/commands/exec.ts";
import { placeShim } from "../../src/commands/shim_place.ts";
import { EnvironmentError } from "../../src/errors.ts";

const LIBRARY = new Uint8Array([1, 2, 3]);

function inFolder(body: (dir: string) => void) {
  return () => {
    const dir = Deno.makeTempDirSync({ prefix: "p4cache-exec-" });
    try {
      body(dir);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  };
}

Deno.test("other variables and preloads stay, byte for byte; ours come first and once", () => {
  assertEquals(
    shimEnvironment(
      ["A=\xff=b", "LD_PRELOAD=/a.so /s.so:/b.so", "P4CACHE_DEPOT=/old", "P4CACHE_SOCK=/x"],
      "/s.so",
      "/depot",
    ),
    ["A=\xff=b", "P4CACHE_SOCK=/x", "LD_PRELOAD=/s.so:/a.so:/b.so", "P4CACHE_DEPOT=/depot"],
  );
  assertEquals(shimEnvironment([], "/s.so", "/d"), ["LD_PRELOAD=/s.so", "P4CACHE_DEPOT=/d"]);
});

Deno.test(
  "the installed library is used while it is this binary's, else one of the user's own",
  inFolder((dir) => {
    const places = { installed: `${dir}/installed.so`, own: [`${dir}/cache/p4-cache`] };
    const own = `${dir}/cache/p4-cache/libp4shim.so`;
    assertEquals(placeShim(LIBRARY, places), own);
    assertEquals(Deno.readFileSync(own), LIBRARY);
    assertEquals(Deno.statSync(`${dir}/cache/p4-cache`).mode! & 0o777, 0o700);
    const { ino } = Deno.statSync(own);
    assertEquals([placeShim(LIBRARY, places), Deno.statSync(own).ino], [own, ino], "written twice");
    Deno.writeFileSync(own, new Uint8Array([9]));
    placeShim(LIBRARY, places);
    assertEquals(Deno.readFileSync(own), LIBRARY, "of another release");
    Deno.writeFileSync(places.installed, LIBRARY);
    assertEquals(placeShim(LIBRARY, places), places.installed);
  }),
);

Deno.test(
  "a library is never put where others could change it",
  inFolder((dir) => {
    Deno.mkdirSync(`${dir}/open`);
    Deno.chmodSync(`${dir}/open`, 0o777);
    Deno.mkdirSync(`${dir}/elsewhere`, { mode: 0o700 });
    Deno.symlinkSync(`${dir}/elsewhere`, `${dir}/link`);
    const places = { installed: `${dir}/none`, own: [`${dir}/open`, `${dir}/link`] };
    const error = assertThrows(() => placeShim(LIBRARY, places), EnvironmentError);
    assertStringIncludes(error.message, `${dir}/open is not a directory that only this user`);
    assertStringIncludes(error.message, `${dir}/link is not a directory that only this user`);
    assertEquals(
      placeShim(LIBRARY, { ...places, own: [...places.own, `${dir}/ok`] }),
      `${dir}/ok/libp4shim.so`,
    );
  }),
);
