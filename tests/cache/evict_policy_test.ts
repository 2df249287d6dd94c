/**
 * What eviction takes: the engine's own parts, files that people read again and again, and a walk over
 * everything.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { recordAccesses } from "../../src/cache/accesses.ts";
import type { EvictPolicy } from "../../src/manifest/rank.ts";
import { hitRate } from "../bench/eviction_bench.ts";
import { FILES } from "../bench/eviction_traces.ts";
import { until } from "../e2e/daemon_process.ts";
import { Engine } from "./engine.ts";

const HOT = 20, COLD = 60;
const FILE_BYTES = 10;
const HOUR = 3600;

const hot = Array.from({ length: HOT }, (_, i) => `hot/${i}`);
const cold = Array.from({ length: COLD }, (_, i) => `cold/${i}`);

/** Opens files as p4d does: restored where they were evicted, and reported by the shim. */
async function read(engine: Engine, names: readonly string[]): Promise<number> {
  let hits = 0;
  for (const name of names) {
    if (engine.has(name)) hits++;
    else assertEquals((await engine.restorer.fetch(name)).kind, "ok");
    const now = Math.floor(Date.now() / 1000) + engine.laterSeconds;
    recordAccesses(engine.manifest, [name], now);
    engine.loggedAccess.set(name, now);
    // As after each restore in the daemon: room for half of all files.
    const excess = engine.manifest.counters.bytes - (HOT + COLD) / 2 * FILE_BYTES;
    if (excess > 0) await engine.evictor.makeRoom(excess + 40);
  }
  return hits;
}

/** How many hot files are there after two working days, each with a walk over everything at night. */
async function hotHitsAfterWalks(evictPolicy: EvictPolicy): Promise<number> {
  await using engine = new Engine({ evictPolicy, lowWatermarkBytes: 1e9 });
  for (const name of [...cold, ...hot]) engine.write(name, "0123456789");
  engine.uploader.start();
  await engine.settled();
  let hits = 0;
  for (let day = 0; day < 2; day++) {
    for (let round = 0; round < 4; round++) {
      engine.laterSeconds += 2 * HOUR;
      await read(engine, hot);
    }
    engine.laterSeconds += 6 * HOUR;
    for (const name of [...hot, ...cold]) {
      engine.laterSeconds += 60;
      await read(engine, [name]);
    }
    engine.laterSeconds += 6 * HOUR;
    hits = await read(engine, hot);
  }
  return hits;
}

Deno.test("eviction begins above the low watermark, and stops at 90 % of it", async () => {
  await using engine = new Engine({ lowWatermarkBytes: 20 * FILE_BYTES });
  for (const name of cold.slice(0, 20)) engine.write(name, "0123456789");
  engine.uploader.start();
  await engine.settled();
  engine.evictor.notice(); // as much as there may be
  engine.write(hot[0]!, "0123456789");
  await engine.settled();
  engine.evictor.notice();
  await until("18 are left", () => engine.manifest.counters.total <= 18);
  await engine.evictor.stop();
  assertEquals(engine.manifest.counters.total, 18);
});

Deno.test("lru2: a walk over everything by night leaves the hot set in the cache", async () => {
  assertEquals(await hotHitsAfterWalks("lru2"), HOT);
});

Deno.test("lru: the same walk flushes it, which is why it is not the default", async () => {
  assert(await hotHitsAfterWalks("lru") < HOT / 2);
});

/** The others are in `deno task bench:eviction`. */
const COMPARED = ["hot set, nightly verify", "hot set, verify, a free weekend", "drifting hot set"];

for (const trace of COMPARED) {
  Deno.test(`traces: people's reads hit more often under lru2 than under lru: ${trace}`, () => {
    const lru = hitRate("lru", trace, FILES * 0.12), lru2 = hitRate("lru2", trace, FILES * 0.12);
    assert(lru2 > lru + (trace.startsWith("hot") ? 0.05 : 0), `lru2 ${lru2}, lru ${lru}`);
  });
}
