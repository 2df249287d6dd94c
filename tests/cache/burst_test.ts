/**
 * How long uploads wait for files that come together.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { gatherBurst } from "../../src/cache/burst.ts";

/** How long is waited, ms, while so many files come in each step of the wait. */
async function waited(...comes: readonly number[]): Promise<number> {
  let waitedMs = 0, files = 0, step = 0;
  await gatherBurst(() => files, (ms) => {
    waitedMs += ms;
    files += comes[Math.min(step++, comes.length - 1)]!;
    return Promise.resolve();
  });
  return waitedMs;
}

Deno.test("a few files wait a moment, and a burst until it is over", async () => {
  assertEquals(await waited(0), 20);
  assertEquals(await waited(30), 20, "files that are not small come like this");
  assertEquals(await waited(900, 900, 400, 10), 170);
});

Deno.test("a burst without an end is waited for half a second", async () => {
  assertEquals(await waited(900), 570);
});
