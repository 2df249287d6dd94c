/** The limiting decorator: the contract, and what it counts. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { type Content, SLICE_BYTES } from "../../src/storage/backend.ts";
import type { FileBody } from "../../src/storage/file_transfer.ts";
import { LimitedBackend } from "../../src/storage/limited.ts";
import { RateGate } from "../../src/storage/rate_gate.ts";
import { conformance, fails } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { MemoryBackend } from "./memory_backend.ts";

const PATH = textPath("a/b");

/** A gate that lets all through and adds up what it is asked for. */
class Counter extends RateGate {
  units = 0;
  constructor() {
    super(() => Infinity);
  }
  override enter(units: number): Promise<void> {
    this.units += units;
    return Promise.resolve();
  }
  override charge(units: number): void {
    this.units += units;
  }
}

function counted() {
  const limits = { up: new Counter(), down: new Counter(), requests: new Counter() };
  return { limits, backend: new LimitedBackend(new MemoryBackend(), limits) };
}

conformance("limited", null, () =>
  Promise.resolve({
    backend: new LimitedBackend(new MemoryBackend(), {
      up: new RateGate(() => 1e9),
      down: new RateGate(() => 1e9),
      requests: new RateGate(() => 1e5),
    }),
    leftovers: () => Promise.resolve([]),
    end: () => Promise.resolve(),
  }));

Deno.test("limited: the bytes of a small and of a large object are counted, up and down", async () => {
  for (const size of [0, 10, SLICE_BYTES, 2 * SLICE_BYTES + 5]) {
    const { limits, backend } = counted();
    await backend.put(PATH, contentOf(someBytes(size)), never);
    assertEquals([limits.up.units, limits.down.units], [size, 0]);
    assertEquals(limits.requests.units, Math.max(1, Math.ceil(size / SLICE_BYTES)));
    await backend.getRange(PATH, 0, 2 ** 30, { signal: never });
    assertEquals(limits.down.units, size);
  }
});

Deno.test("limited: a get that fails, or has nothing new to give, costs no bytes", async () => {
  const { limits, backend } = counted();
  await fails("absent", () => backend.getRange(PATH, 0, 1000, { signal: never }));
  const { etag } = await backend.put(PATH, contentOf(someBytes(10)), never);
  assertEquals(await backend.getIfChanged(PATH, etag, 1000, never), null);
  assertEquals(limits.down.units, 0);
  await backend.getIfChanged(PATH, "other", 1000, never);
  assertEquals(limits.down.units, 10);
});

Deno.test("limited: a restore that waits is let through before the uploads that wait", async () => {
  const inner = new MemoryBackend();
  const requests = new RateGate(() => 20);
  const backend = new LimitedBackend(inner, { up: null, down: null, requests });
  await backend.put(PATH, contentOf(someBytes(10)), never);
  inner.calls.length = 0;
  const uploads = Array.from(
    { length: 12 },
    (_, i) => backend.put(textPath(`u/${i}`), contentOf(someBytes(1)), never),
  );
  await backend.getRange(PATH, 0, 10, { signal: never });
  const before = inner.calls.findIndex((call) => call.operation === "getRange");
  assert(before >= 0 && before < 6, `${before} uploads went first`);
  await Promise.all(uploads);
});

Deno.test("limited: who waits and is aborted ends at once", async () => {
  const requests = new RateGate(() => 0.001);
  const backend = new LimitedBackend(new MemoryBackend(), { up: null, down: null, requests });
  await fails("absent", () => backend.head(PATH, never));
  const controller = new AbortController();
  const waiting = fails("transient", () => backend.head(PATH, controller.signal));
  controller.abort();
  await waiting;
});

Deno.test("limited: large and small objects take the time that the bandwidth gives them", async () => {
  const rate = 16 * 1024 * 1024;
  const sizes = [3 * SLICE_BYTES, ...Array.from({ length: 80 }, () => 100 * 1024)];
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const gates = { up: new RateGate(() => rate), down: new RateGate(() => rate), requests: null };
  const backend = new LimitedBackend(new MemoryBackend(), gates);
  // The last part goes when all before it are paid for; a quarter of a second is free at first.
  const leastMs = ((total - SLICE_BYTES) / rate - 0.25) * 1000;
  const takes = async (call: (path: DepotPath, size: number) => Promise<unknown>) => {
    const begunMs = performance.now();
    await Promise.all(sizes.map((size, i) => call(textPath(`f${i}`), size)));
    const tookMs = performance.now() - begunMs;
    assert(tookMs >= leastMs, `${tookMs} ms instead of ${leastMs}`);
  };
  await takes((path, size) => backend.put(path, contentOf(someBytes(size)), never));
  await takes(async (path, size) => {
    for (let at = 0; at < size; at += SLICE_BYTES) {
      await backend.getRange(path, at, SLICE_BYTES, { signal: never });
    }
  });
});

Deno.test("limited: what is sent from its file is counted as what is read", async () => {
  const size = 2 * SLICE_BYTES + 5;
  const { limits, backend } = counted();
  const content = contentOf(someBytes(size));
  const inner: Content[] = [];
  const keeping = new MemoryBackend();
  keeping.put = (_path, content) => {
    inner.push(content);
    return Promise.resolve({ etag: "1" });
  };
  const body = (offset: number, length: number): FileBody => ({
    length,
    send: () => Promise.reject(new Error("not called")),
    copyTo: () => Promise.reject(new Error("not called")),
    read: () => Promise.resolve(content.read(offset, length)),
  });
  await new LimitedBackend(keeping, limits).put(PATH, { ...content, body }, never);
  assertEquals((await inner[0]!.body!(SLICE_BYTES, 100)).length, 100);
  assertEquals([limits.up.units, limits.requests.units], [100, 2]);
  await backend.put(PATH, content, never);
  assertEquals(limits.up.units, 100 + size);
});
