/** The list of broken promises fits the program; `deno task mutations` breaks them. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { misfits } from "./planting.ts";
import { BROKEN_PROMISES } from "./broken_promises.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

Deno.test("every promise can still be broken, and the test that must fail is there", () => {
  const wrong = BROKEN_PROMISES.flatMap(({ what, edits, test, name }) => [
    ...misfits(what, edits),
    ...(Deno.readTextFileSync(ROOT + test).includes(name) ? [] : [`${what}: no test '${name}'`]),
  ]);
  assertEquals(wrong, []);
});
