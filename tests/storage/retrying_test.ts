/** The retrying decorator: the contract, and how persistent it is. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import fc from "fast-check";
import { backoffMs } from "../../src/storage/backoff.ts";
import { StorageError, type StorageErrorKind } from "../../src/storage/backend.ts";
import { RetryingBackend, type RetryOptions } from "../../src/storage/retrying.ts";
import { conformance, fails, paths } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { MemoryBackend } from "./memory_backend.ts";

const PATH = textPath("a/b");
const QUICK: RetryOptions = {
  attempts: 4,
  backoff: { firstMs: 1, maxMs: 2 },
  failuresToOpen: 100,
  open: { firstMs: 20, maxMs: 20 },
};

conformance("retrying", null, () =>
  Promise.resolve({
    backend: new RetryingBackend(new MemoryBackend(), QUICK),
    leftovers: () => Promise.resolve([]),
    end: () => Promise.resolve(),
  }));

/** A memory backend with one object whose first `times` operations fail. */
async function failing(kind: StorageErrorKind, times: number) {
  const inner = new MemoryBackend();
  await inner.put(PATH, contentOf(someBytes(10)), never);
  inner.calls.length = 0;
  let left = times;
  inner.fault = (_, __, afterEffect) => {
    if (!afterEffect && left-- > 0) throw new StorageError(kind, "injected");
  };
  return inner;
}

for (const kind of ["transient", "throttled"] as const) {
  Deno.test(`retrying: a ${kind} failure is tried again, so many times and no more`, async () => {
    const passing = await failing(kind, 3);
    assertEquals((await new RetryingBackend(passing, QUICK).head(PATH, never)).size, 10);
    assertEquals(passing.calls.length, 4);
    const lasting = await failing(kind, 100);
    await fails(kind, () => new RetryingBackend(lasting, QUICK).head(PATH, never));
    assertEquals(lasting.calls.length, 4);
  });
}

for (const kind of ["absent", "denied", "permanent", "corrupt"] as const) {
  Deno.test(`retrying: a failure that is ${kind} is not tried again`, async () => {
    const inner = await failing(kind, 1);
    await fails(kind, () => new RetryingBackend(inner, QUICK).head(PATH, never));
    assertEquals(inner.calls.length, 1);
  });
}

Deno.test("retrying: a wait ends when the signal is aborted", async () => {
  const inner = await failing("transient", 100);
  const patient = { ...QUICK, backoff: { firstMs: 1e8, maxMs: 1e8 } };
  const controller = new AbortController();
  const call = new RetryingBackend(inner, patient).head(PATH, controller.signal);
  setTimeout(() => controller.abort(), 5);
  await fails("transient", () => call);
});

Deno.test("retrying: the circuit opens for all, and one probe closes it", async () => {
  const inner = await failing("transient", 1e9);
  const backend = new RetryingBackend(inner, { ...QUICK, failuresToOpen: 6 });
  while (!backend.isOpen) await fails("transient", () => backend.head(PATH, never));
  assertEquals(inner.calls.length, 6);
  await Promise.all(
    Array.from({ length: 50 }, () => fails("transient", () => backend.head(PATH, never))),
  );
  assert(inner.calls.length <= 7, `${inner.calls.length} calls reached a dead backend`);
  inner.fault = () => {};
  while (backend.isOpen) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    await backend.head(PATH, never).catch(() => {});
  }
  assertEquals((await backend.head(PATH, never)).size, 10);
});

Deno.test("retrying: answers that are errors do not open the circuit", async () => {
  const inner = new MemoryBackend();
  const backend = new RetryingBackend(inner, { ...QUICK, failuresToOpen: 2 });
  for (let i = 0; i < 10; i++) await fails("absent", () => backend.head(PATH, never));
  assertEquals(backend.isOpen, false);
});

Deno.test("retrying: a listing goes on where it failed", async () => {
  const inner = new MemoryBackend();
  const all = Array.from({ length: 50 }, (_, i) => textPath(`l/${i}`)).sort();
  for (const path of all) await inner.put(path, contentOf(someBytes(1)), never);
  let calls = 0;
  inner.fault = () => {
    if (++calls % 7 === 0) throw new StorageError("transient", "injected");
  };
  assertEquals(await paths(new RetryingBackend(inner, QUICK), "l/"), all);
});

Deno.test("retrying: waits stay in their bounds and honour what the provider asked for", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 60 }),
    fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
    fc.double({ min: 0, max: 0.999, noNaN: true }),
    (failures, asked, random) => {
      const ms = backoffMs({ firstMs: 100, maxMs: 5000 }, failures, asked, () => random);
      assert(ms >= Math.min(5000, asked ?? 0) && ms <= 5000, `${ms}`);
    },
  ));
});

Deno.test("retrying: a conditional put whose answer was lost knows its own object again", async () => {
  const inner = new MemoryBackend();
  let lose = true;
  inner.fault = (operation, _, afterEffect) => {
    if (operation !== "put" || !afterEffect || !lose) return;
    lose = false;
    throw new StorageError("transient", "the answer was lost");
  };
  const backend = new RetryingBackend(inner, QUICK);
  const { etag } = await backend.put(PATH, contentOf(someBytes(10)), never, { ifAbsent: true });
  assertEquals((await inner.head(PATH, never)).etag, etag);
  lose = true;
  const other = contentOf(someBytes(10, 2));
  await fails("conflict", () => backend.put(PATH, other, never, { ifAbsent: true }));
});

Deno.test("retrying: what the provider asked of one operation holds for all", async () => {
  const inner = await failing("throttled", 0);
  const patient = { ...QUICK, backoff: { firstMs: 1, maxMs: 1000 } };
  const backend = new RetryingBackend(inner, patient);
  const calledMs: number[] = [];
  inner.fault = () => {
    calledMs.push(performance.now());
    if (calledMs.length === 1) {
      throw new StorageError("throttled", "slow down", { retryAfterMs: 100 });
    }
  };
  const first = backend.head(PATH, never);
  await new Promise((resolve) => setTimeout(resolve, 10));
  await Promise.all([first, ...Array.from({ length: 10 }, () => backend.head(PATH, never))]);
  assertEquals(calledMs.length, 12);
  for (const ms of calledMs.slice(1)) assert(ms - calledMs[0]! >= 99, `after ${ms - calledMs[0]!}`);
});

Deno.test("retrying: a provider that asks for more patience than there is gets no requests", async () => {
  const inner = await failing("throttled", 0);
  inner.fault = () => {
    throw new StorageError("throttled", "slow down", { retryAfterMs: 60_000 });
  };
  const backend = new RetryingBackend(inner, QUICK);
  assertEquals(backend.isResting, false);
  await fails("throttled", () => backend.head(PATH, never));
  assertEquals([backend.isResting, backend.isOpen], [true, false]);
  for (let i = 0; i < 20; i++) {
    const error = await fails("throttled", () => backend.head(PATH, never));
    assert(error.options.retryAfterMs! > 50_000 && error.message.includes("left alone"));
  }
  assertEquals(inner.calls.length, 1);
});
