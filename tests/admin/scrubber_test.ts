/** Comparing everything: on a schedule, and while files change. @module */

import {
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "deno-std/assert/mod.js";
import { Registry } from "prom-client";
import { Scrubber } from "../../src/admin/scrubber.ts";
import { verify } from "../../src/admin/verify.ts";
import { getLog } from "../../src/observe/logging.ts";
import { Engine } from "../cache/engine.ts";

const SIGNAL = new AbortController().signal;
const LIMITS = { scrubIntervalSeconds: 1000, scrubFilesPerSecond: 100_000 };

async function uploadedEngine(names: readonly string[]): Promise<Engine> {
  const engine = new Engine();
  for (const name of names) engine.write(name, `content of ${name}`);
  engine.uploader.start();
  await engine.settled();
  return engine;
}

function scrubberOf(
  engine: Engine,
  limits = LIMITS,
  registry = engine.metrics.registry,
): Scrubber {
  const parts = { ...engine, backend: engine.primary };
  return new Scrubber(parts, limits, `${engine.dir}/.p4cache`, registry, getLog("scrub"));
}

function spoil(engine: Engine, name: string): void {
  const object = engine.primary.objects.get(name)!;
  engine.primary.objects.set(name, { ...object, bytes: object.bytes.toReversed() });
}

Deno.test("a scrub runs when it is due, counts what it finds, and remembers that it ran", async () => {
  await using engine = await uploadedEngine(["a", "b"]);
  const stamp = `${engine.dir}/.p4cache/scrubbed`;
  spoil(engine, "a");
  const scrubber = scrubberOf(engine);
  scrubber.start();
  scrubber.look();
  // A depot that is new has been scrubbed just now, so to say.
  assertStringIncludes(await engine.metricsText(), "p4cache_scrub_files_total{");
  const long = new Date(Date.now() - 1001 * 1000);
  Deno.utimeSync(stamp, long, long);
  scrubber.look();
  const isDone = () => Deno.statSync(stamp).mtime!.getTime() > long.getTime();
  while (!isDone()) await new Promise((resolve) => setTimeout(resolve, 5));
  await scrubber.stop();
  const text = await engine.metricsText();
  assertEquals(/p4cache_scrub_files_total\{[^}]*\} (\d+)/.exec(text)?.[1], "2");
  assertEquals(/p4cache_scrub_findings_total\{[^}]*\} (\d+)/.exec(text)?.[1], "1");
});

Deno.test("a scrub that was interrupted goes on where it was", async () => {
  await using engine = await uploadedEngine(["a", "b", "c"]);
  const state = `${engine.dir}/.p4cache`, place = `${state}/scrub_place`;
  const later = () => new Promise((resolve) => setTimeout(resolve, 5));
  spoil(engine, "a"); // a finding is told at once, and with it the place
  Deno.writeTextFileSync(`${state}/scrubbed`, "");
  Deno.utimeSync(`${state}/scrubbed`, new Date(0), new Date(0));
  const slow = { scrubIntervalSeconds: 1000, scrubFilesPerSecond: 2 };
  const first = scrubberOf(engine, slow, new Registry());
  first.look();
  while (![...Deno.readDirSync(state)].some(({ name }) => name === "scrub_place")) await later();
  await first.stop();
  assertEquals(Deno.readTextFileSync(place), "a");
  assertEquals(Deno.statSync(`${state}/scrubbed`).mtime!.getTime(), 0);

  const registry = new Registry(), second = scrubberOf(engine, LIMITS, registry);
  second.look();
  while (Deno.statSync(`${state}/scrubbed`).mtime!.getTime() === 0) await later();
  await second.stop();
  assertMatch(await registry.metrics(), /p4cache_scrub_files_total 2\n/);
  assertMatch(await registry.metrics(), /p4cache_scrub_findings_total 0\n/);
  assertThrows(() => Deno.statSync(place), Deno.errors.NotFound);
});

Deno.test("a file that is written, evicted or deleted while it is compared is no finding", async () => {
  const names = Array.from({ length: 30 }, (_, i) => `f${i}`);
  await using engine = await uploadedEngine(names);
  const parts = { ...engine, backend: engine.primary };
  let looked = 0;
  const pace = async () => {
    // Each file in its turn, just before and just after it is looked at.
    const name = names[looked++ % names.length]!;
    if (looked % 3 === 0) engine.write(name, "another");
    else if (looked % 3 === 1) await engine.evictor.evictOnly([name as never]);
    else if (engine.has(name)) {
      Deno.removeSync(`${engine.dir}/${name}`);
      engine.intake.gone(name as never);
    }
  };
  const run = verify(parts, "", { deep: true, percent: 100, pace, after: "" as never }, SIGNAL);
  const found = [];
  for await (const state of run) found.push(...state.found);
  assertEquals(found, []);
});
