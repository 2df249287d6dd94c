/** Pinned files stay; others go. @module */

import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { Pins } from "../../src/cache/pins.ts";
import { Engine } from "./engine.ts";

async function uploaded(engine: Engine, ...names: string[]): Promise<void> {
  for (const name of names) engine.write(name, "x".repeat(500));
  engine.uploader.start();
  await engine.settled();
}

Deno.test("pinned files and those below a pinned directory are not evicted, others are", async () => {
  await using engine = new Engine();
  await uploaded(engine, "a", "b", "d/e/f", "dd/g");
  engine.pins.add("a");
  engine.pins.add("d/");
  await engine.evictor.makeRoom(5000);
  assertEquals(["a", "b", "d/e/f", "dd/g"].map((name) => engine.has(name)), [
    true,
    false,
    true,
    false,
  ]);
  const text = await engine.metricsText();
  assert(text.includes('p4cache_evictions_skipped_total{reason="pinned"'), text);
  assert(!/skipped_total\{reason="pinned"[^}]*\} 0\n/.test(text), text);
});

Deno.test("a pin that is taken back no longer holds, and pins outlast the daemon", async () => {
  await using engine = new Engine();
  await uploaded(engine, "a", "b");
  engine.pins.add("a");
  engine.pins.add("b");
  await engine.manifest.commit();
  const again = new Pins(engine.manifest);
  assert(again.isPinned("a" as DepotPath));
  assertEquals(await again.after(""), ["a", "b"]);
  assert(engine.pins.remove("a"));
  assert(!engine.pins.remove("a"));
  await engine.evictor.makeRoom(5000);
  assertEquals([engine.has("a"), engine.has("b")], [false, true]);
});

Deno.test("what cannot be a depot file cannot be pinned", async () => {
  await using engine = new Engine();
  for (const pin of ["", "/", "/etc/", "../x", ".p4cache/", "a//b"]) {
    assertThrows(() => engine.pins.add(pin), Error, "Cannot pin");
  }
});
