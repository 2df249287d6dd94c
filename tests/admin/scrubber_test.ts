/** Comparing everything: on a schedule, and while files change. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
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

function scrubberOf(engine: Engine): Scrubber {
  const parts = { ...engine, backend: engine.primary };
  const log = getLog("scrub");
  return new Scrubber(parts, LIMITS, `${engine.dir}/.p4cache`, engine.metrics.registry, log);
}

Deno.test("a scrub runs when it is due, counts what it finds, and remembers that it ran", async () => {
  await using engine = await uploadedEngine(["a", "b"]);
  const stamp = `${engine.dir}/.p4cache/scrubbed`;
  const object = engine.primary.objects.get("a")!;
  engine.primary.objects.set("a", { ...object, bytes: object.bytes.toReversed() });
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
  const run = verify(parts, "", { deep: true, percent: 100, pace }, SIGNAL);
  const found = [];
  for await (const state of run) found.push(...state.found);
  assertEquals(found, []);
});
