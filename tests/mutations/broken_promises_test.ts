/** The list of broken promises fits the program; `deno task mutations` breaks them. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { BROKEN_PROMISES } from "./broken_promises.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

Deno.test("every promise can still be broken, and the test that must fail is there", () => {
  const count = (file: string, text: string) =>
    Deno.readTextFileSync(ROOT + file).split(text).length - 1;
  const wrong = BROKEN_PROMISES.flatMap(({ what, edits, test, name }) => [
    ...edits.filter(({ file, find }) => count(file, find) !== 1)
      .map(({ file, find }) => `${what}: not once in ${file}: ${find}`),
    ...(count(test, name) > 0 ? [] : [`${what}: no test '${name}' in ${test}`]),
  ]);
  assertEquals(wrong, []);
});
