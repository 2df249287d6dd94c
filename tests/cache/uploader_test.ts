/**
 * The walk through the queue of dirty files: nothing that becomes dirty waits longer than it must.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { delay } from "deno-std/async/delay.js";
import { Engine } from "./engine.ts";

Deno.test("what becomes dirty behind the walk is uploaded when the walk is over", async () => {
  await using engine = new Engine({ pollIntervalMs: 3_600_000 });
  let written = false;
  engine.primary.fault = (operation) => {
    if (operation === "put" && !written) {
      written = true;
      // The queue is in the order of time: this one comes before where the walk is.
      engine.laterSeconds = -100;
      engine.write("behind", "the walk");
      engine.laterSeconds = 0;
    }
    return Promise.resolve();
  };
  for (let i = 0; i < 10; i++) engine.write(`queued${i}`, "since long");
  engine.uploader.start();
  for (let i = 0; i < 1000 && engine.stored("behind") === null; i++) await delay(5);
  assertEquals(engine.stored("behind"), "the walk");
});
