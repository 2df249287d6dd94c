/** Who an installation is, to the others on its storage. @module */

import { assertEquals, assertNotEquals, assertThrows } from "deno-std/assert/mod.js";
import { readHolder } from "../../src/cluster/holder.ts";
import { EnvironmentError } from "../../src/errors.ts";

function inFolder(test: (dir: string) => void): void {
  const dir = Deno.makeTempDirSync();
  try {
    test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("an installation keeps its id, and a copy of its state directory gets another one", () =>
  inFolder((dir) => {
    const [here, copy] = ["here", "copy"].map((name) => `${dir}/${name}`);
    Deno.mkdirSync(here!);
    const id = readHolder(here!);
    assertEquals(readHolder(here!), id);
    Deno.mkdirSync(copy!);
    Deno.copyFileSync(`${here}/holder`, `${copy}/holder`);
    const other = readHolder(copy!);
    assertNotEquals(other, id);
    assertEquals([readHolder(here!), readHolder(copy!)], [id, other]);
    // The same directory on another machine, as a snapshot brings it there.
    assertNotEquals(readHolder(here!, "another machine"), id);
  }));

Deno.test("an id that cannot be read is a new one, and one that cannot be kept ends the start", () =>
  inFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/holder`, "{");
    const id = readHolder(dir);
    assertEquals(readHolder(dir), id);
    assertThrows(() => readHolder(`${dir}/missing`, "here"), EnvironmentError, "holder");
  }));
