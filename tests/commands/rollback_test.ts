/** `p4-cache rollback`. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { exchange } from "../../src/commands/rollback.ts";
import { EnvironmentError } from "../../src/errors.ts";

Deno.test("a rollback lets the program and the previous one change places, and back", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const program = `${dir}/p4-cache`, previous = `${program}.previous`;
    const both = () => [Deno.readTextFileSync(program), Deno.readTextFileSync(previous)];
    Deno.writeTextFileSync(program, "new");
    assertThrows(() => exchange(program), EnvironmentError, "there is no");
    assertEquals(Deno.readTextFileSync(program), "new");
    Deno.writeTextFileSync(previous, "old");
    exchange(program);
    assertEquals(both(), ["old", "new"]);
    Deno.writeTextFileSync(`${program}.rollback`, "left by an interrupted one");
    exchange(program);
    assertEquals(both(), ["new", "old"]);
    assertEquals(Array.from(Deno.readDirSync(dir)).length, 2);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
