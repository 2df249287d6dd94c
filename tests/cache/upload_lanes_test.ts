/**
 * Fairness between small and large files: neither kind keeps the other waiting.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import type { DepotPath } from "../../src/depot_path.ts";
import { Engine } from "./engine.ts";

/** More than is read with others in one call. */
const LARGE_BYTES = 1024 * 1024 + 1;

function writeLarge(engine: Engine, name: string): void {
  Deno.writeFileSync(`${engine.dir}/${name}`, new Uint8Array(LARGE_BYTES));
  engine.intake.changed(name as DepotPath, LARGE_BYTES);
}

Deno.test("small files go on while large ones wait for large ones", async () => {
  await using engine = new Engine();
  const held = Promise.withResolvers<void>();
  let largeBegun = 0;
  engine.primary.fault = async (operation, path) => {
    if (operation !== "put" || !path.startsWith("large")) return;
    largeBegun++;
    await held.promise;
  };
  const larges = Array.from({ length: 5 }, (_, i) => `large${i}`);
  for (const name of larges) writeLarge(engine, name);
  engine.write("behind", "in the same page of the queue");
  engine.uploader.start();
  while (engine.stored("behind") === null) await new Promise((resolve) => setTimeout(resolve, 5));
  engine.write("later", "submitted while large files are on their way");
  while (engine.stored("later") === null) await new Promise((resolve) => setTimeout(resolve, 5));
  assert(largeBegun < larges.length, "the large ones were not held");
  held.resolve();
  await engine.settled();
  for (const name of larges) assertEquals(engine.stored(name)?.length, LARGE_BYTES);
});

Deno.test("no more large files are on their way than are allowed", async () => {
  await using engine = new Engine({ largeConcurrency: 1 });
  let now = 0, most = 0;
  engine.primary.fault = async (operation) => {
    if (operation !== "put") return;
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 5));
    now--;
  };
  for (const name of ["large0", "large1", "large2"]) writeLarge(engine, name);
  engine.uploader.start();
  await engine.settled();
  assertEquals(most, 1);
});

Deno.test("large files go on while small ones wait for small ones", async () => {
  await using engine = new Engine();
  const held = Promise.withResolvers<void>();
  engine.primary.fault = async (operation, path) => {
    if (operation === "put" && path.startsWith("small")) await held.promise;
  };
  for (let i = 0; i < 3; i++) engine.write(`small${i}`, "held");
  writeLarge(engine, "large0");
  writeLarge(engine, "large1");
  writeLarge(engine, "large2");
  engine.uploader.start();
  while (engine.stored("large2") === null) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(engine.stored("small0"), null);
  held.resolve();
  await engine.settled();
});

Deno.test("a large file that is written again while it waits is uploaded as it is then", async () => {
  await using engine = new Engine();
  const held = Promise.withResolvers<void>();
  engine.primary.fault = async (operation, path) => {
    if (operation === "put" && path !== "waits") await held.promise;
  };
  writeLarge(engine, "large0");
  writeLarge(engine, "large1");
  writeLarge(engine, "waits");
  engine.uploader.start();
  while (engine.uploader.uploading < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  engine.write("waits", "small by now");
  held.resolve();
  await engine.settled();
  assertEquals(engine.stored("waits"), "small by now");
});

Deno.test("what is submitted now does not wait until a long queue is done", async () => {
  await using engine = new Engine();
  const order = new Set<string>();
  engine.primary.fault = (operation, path) => {
    if (operation === "put") order.add(path);
    if (order.size === 100 && !order.has("submitted")) engine.write("submitted", "now");
    return Promise.resolve();
  };
  const QUEUED = 2500;
  for (let i = 0; i < QUEUED; i++) engine.write(`queued${i}`, "since long");
  engine.uploader.start();
  await engine.settled();
  const place = [...order].indexOf("submitted");
  // Every second one is of the queue, and what came just before goes first.
  assert(place < QUEUED * 0.6, `it was number ${place}`);
  assertEquals(order.size, QUEUED + 1);
});

Deno.test("files of every size are stored as they are, however they are read", async () => {
  await using engine = new Engine();
  const sizes = [0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024, LARGE_BYTES, 9 * 1024 * 1024];
  const bytesOf = (size: number) =>
    Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) & 0xff);
  for (const size of sizes) {
    Deno.writeFileSync(`${engine.dir}/file${size}`, bytesOf(size));
    engine.intake.changed(`file${size}` as DepotPath, size);
  }
  engine.uploader.start();
  await engine.settled();
  for (const size of sizes) {
    const stored = engine.primary.objects.get(`file${size}`)!.bytes;
    assert(Buffer.compare(stored, bytesOf(size)) === 0, `${size} bytes are not the same`);
  }
  assertEquals(engine.uploader.memory.usedBytes, 0);
});
