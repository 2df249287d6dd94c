/** P1: nothing is written without the lease. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { LeasedBackend } from "../../src/cluster/leased_backend.ts";
import { RETRY_DEFAULTS, RetryingBackend } from "../../src/storage/retrying.ts";
import { fails } from "../storage/conformance.ts";
import { contentOf, never, someBytes, textPath } from "../storage/contents.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";
import { Engine } from "../cache/engine.ts";

const PATH = textPath("dir/file"), OTHER = textPath("dir/other");

/** Storage behind a lease that the test gives and takes. */
function leased() {
  const memory = new MemoryBackend();
  const right = { isHeld: true, why: "another daemon holds the lease" };
  return { memory, right, backend: new LeasedBackend(memory, right) };
}

Deno.test("without the lease nothing is written, and everything is read", async () => {
  const { memory, right, backend } = leased();
  await backend.put(PATH, contentOf(someBytes(10)), never);
  right.isHeld = false;
  const before = memory.calls.length;
  await fails("fenced", () => backend.put(PATH, contentOf(someBytes(20)), never));
  await fails("fenced", () => backend.copy(PATH, OTHER, never));
  await fails("fenced", () => backend.delete(PATH, never));
  assertEquals(memory.calls.length, before, "a request was made");
  assertEquals((await backend.head(PATH, never)).size, 10);
  await backend.put(textPath(".p4cache-probe/x"), contentOf(someBytes(1)), never);
});

Deno.test("a write under way when the lease is lost ends, and its outcome counts as unknown", async () => {
  const { memory, right, backend } = leased();
  const retrying = new RetryingBackend(backend, RETRY_DEFAULTS);
  const unknown: string[] = [];
  retrying.onUnknownOutcome = (path) => unknown.push(path);
  const reached = Promise.withResolvers<void>();
  memory.fault = async (operation) => {
    if (operation !== "put") return;
    reached.resolve();
    await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const put = retrying.put(PATH, contentOf(someBytes(10)), never);
  await reached.promise;
  right.isHeld = false;
  backend.cutOff();
  await fails("fenced", () => put);
  await fails("fenced", () => retrying.put(OTHER, contentOf(someBytes(10)), never));
  assertEquals(unknown, [PATH], "only what was under way may have taken effect");
  assert(!retrying.isOpen, "reads must go on");
});

Deno.test("P1: while another daemon may write, no file is evicted and no object removed", async () => {
  await using engine = new Engine({ deletePolicy: "tombstone" });
  engine.uploader.start();
  for (let i = 0; i < 20; i++) engine.write(`file${i}`, "x".repeat(100));
  await engine.settled();
  engine.laterSeconds = 10;
  engine.mayWrite = false;
  const all = Array.from({ length: 20 }, (_, i) => textPath(`file${i}`));
  assertEquals(new Set(await engine.evictor.evictOnly(all)), new Set(["unleased"]));
  await engine.evictor.makeRoom(1000);
  engine.evictor.notice();
  Deno.removeSync(`${engine.dir}/file0`);
  engine.intake.removed(textPath("file0"));
  await engine.manifest.commit();
  assertEquals((await engine.garbage.collect()).removed, 0);
  for (const path of all.slice(1)) assert(engine.has(path), path);
  assert(engine.primary.objects.has("file0"));

  engine.mayWrite = true;
  assertEquals((await engine.garbage.collect()).removed, 1);
  assertEquals(await engine.evictor.evictOnly([textPath("file1")]), [null]);
});
