/** Rates and what follows from them. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { BusyDirectories } from "../../src/observe/busy_directories.ts";
import { EventFeed } from "../../src/observe/event_feed.ts";
import { type GaugeSnapshot, Metrics } from "../../src/observe/metrics.ts";
import { RateMeter } from "../../src/observe/rates.ts";

const metrics = () =>
  new Metrics({ depot: "/d", mode: "readwrite" }, () => ({} as unknown as GaugeSnapshot));

Deno.test("rates are about the last seconds, shares about the last five minutes", () => {
  let nowMs = 0;
  const counted = metrics();
  const meter = new RateMeter(() => counted.totals(), () => nowMs);
  for (let i = 0; i < 20; i++) counted.uploadDone(true, 100, 0.1);
  counted.uploadDone(false, 0, 0.1);
  nowMs = 10_000;
  const { uploads, uploadBytes, restores } = meter.rates();
  assertEquals([uploads, uploadBytes, restores], [2, 200, 0]);
  assertEquals(meter.recently(), { done: 20, failed: 1 });
  assertEquals(meter.hitRatio(), null);
  counted.accessEvents(100);
  for (let i = 0; i < 5; i++) counted.restoreDone(true, 1, 0.1, false);
  assertEquals(meter.hitRatio(), 0.95);
  // Ten samples a second apart: all of that is before the last two.
  for (let i = 0; i < 70; i++) {
    nowMs += 5000;
    meter.sample();
  }
  assertEquals([meter.rates().uploads, meter.recently().done, meter.hitRatio()], [0, 0, null]);
});

Deno.test("the time until all is uploaded counts files or bytes, whichever takes longer", () => {
  let nowMs = 0;
  const counted = metrics();
  const meter = new RateMeter(() => counted.totals(), () => nowMs);
  assertEquals([meter.drainSeconds(0, 0), meter.drainSeconds(1, 1)], [0, null]);
  for (let i = 0; i < 10; i++) counted.uploadDone(true, 100, 0.1);
  nowMs = 1000;
  assertEquals([meter.drainSeconds(50, 100), meter.drainSeconds(1, 5000)], [5, 5]);
});

Deno.test("the busiest directories come first, and old accesses fade", () => {
  let nowMs = 0;
  const busy = new BusyDirectories(() => nowMs);
  busy.note(["a/1", "a/2", "b/c/1", "top", "a/1"]);
  assertEquals(busy.top(2), [{ path: "a", accesses: 3 }, { path: "b/c", accesses: 1 }]);
  nowMs = 120_000;
  busy.note(["b/c/2", "b/c/2"]);
  assertEquals(busy.top(9), [{ path: "b/c", accesses: 2 }, { path: "a", accesses: 1 }]);
});

Deno.test("directories beyond the bound are forgotten, the least busy ones first", () => {
  const busy = new BusyDirectories();
  for (let i = 0; i < 3; i++) busy.note(["kept/file"]);
  for (let i = 0; i < 10_000; i++) busy.note([`d${i}/file`]);
  const all = busy.top(Infinity);
  assertEquals(all[0], { path: "kept", accesses: 3 });
  assertEquals(all.length <= 4001, true);
});

Deno.test("the feed remembers a bounded number of events and numbers them without gaps", async () => {
  const feed = new EventFeed();
  assertEquals(feed.after(0), []);
  const woken = feed.next(new AbortController().signal);
  feed.note("written", "a\xff", { bytes: 3 });
  await woken;
  const [first] = feed.after(0);
  assertEquals([first!.id, first!.kind, first!.path, first!.bytes], [1, "written", "a\\xff", 3]);
  for (let i = 0; i < 2500; i++) feed.note("restored", `f${i}`, { seconds: i % 1000 });
  assertEquals(feed.last, 2501);
  const kept = feed.after(0);
  assertEquals([kept.length, kept[0]!.id, kept.at(-1)!.id], [2000, 502, 2501]);
  assertEquals(feed.slowest("restored", 2).map(({ seconds }) => seconds), [999, 999]);
  const stop = new AbortController();
  const waiting = feed.next(stop.signal);
  stop.abort();
  await waiting;
});
