/** Filesystems without room, without inodes, or without rights for a while. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Engine } from "../cache/engine.ts";
import { run, until } from "../e2e/daemon_process.ts";
import { SMALL_DISKS, SmallDisk } from "./small_disk.ts";

const MIB = 1024 ** 2;

/** A depot on the disk, with `count` uploaded files of `bytes` each. */
async function withUploads(
  disk: SmallDisk,
  count: number,
  bytes: number,
  floors: { minFreeBytes?: number; minFreeInodes?: number } = {},
): Promise<Engine> {
  const dir = `${disk.path}/depot`;
  Deno.mkdirSync(dir);
  const engine = new Engine({ dir, lowWatermarkBytes: Number.MAX_SAFE_INTEGER, ...floors });
  for (let i = 0; i < count; i++) engine.write(`f${i}`, content(i, bytes));
  engine.uploader.start();
  await engine.settled();
  return engine;
}

const content = (i: number, bytes: number) => `${i} `.repeat(bytes).slice(0, bytes);

const present = (engine: Engine) =>
  [...Deno.readDirSync(engine.dir)].filter((entry) => entry.isFile).length;

// Not on xfs: without a free block, moving files into the trash fails there now and then, and room comes late.
Deno.test("ext4: on a full disk a restore has room made for the whole file", async () => {
  await using disk = await SmallDisk.make("ext4");
  const large = 20 * MIB;
  await using engine = await withUploads(disk, 1, large);
  await engine.evictor.makeRoom(large);
  assert(!engine.has("f0"));
  await run("sync", ["-f", disk.path]); // ext4 gives blocks back with its journal's next commit
  for (let i = 1; i < 100; i++) engine.write(`f${i}`, content(i, 0.25 * MIB));
  await engine.settled();
  await disk.fill(0);
  assertEquals(await engine.restorer.fetch("f0"), { kind: "ok", size: large });
});

for (const type of SMALL_DISKS) {
  Deno.test(`${type}: eviction keeps the floor of free bytes, and stops soon above it`, async () => {
    await using disk = await SmallDisk.make(type);
    await disk.fill(36 * MIB);
    const floor = 16 * MIB;
    await using engine = await withUploads(disk, 100, 0.25 * MIB, { minFreeBytes: floor });
    assert(await disk.freeBytes() < floor, `${await disk.freeBytes()} bytes free`);
    engine.evictor.notice();
    await until("the floor is kept", async () => await disk.freeBytes() >= floor);
    assert(present(engine) > 30, `${present(engine)} files left`);
    assert(present(engine) < 90, `${present(engine)} files left`);
    assert(!engine.health.isRaised("disk_low"));
    assertEquals((await engine.restorer.fetch("f0")).kind, "ok");
  });

  Deno.test(`${type}: on a full disk a restore evicts and succeeds`, async () => {
    await using disk = await SmallDisk.make(type);
    await using engine = await withUploads(disk, 40, 0.25 * MIB);
    await engine.evictor.makeRoom(MIB);
    const [gone] = Array.from({ length: 40 }, (_, i) => i).filter((i) => !engine.has(`f${i}`));
    await disk.fill(0);
    const answer = await engine.restorer.fetch(`f${gone}`);
    assertEquals(answer, { kind: "ok", size: 0.25 * MIB });
    assertEquals(engine.read(`f${gone}`), content(gone!, 0.25 * MIB));
  });

  Deno.test(`${type}: where nothing can be evicted, a restore fails cleanly and leaves no part`, async () => {
    await using disk = await SmallDisk.make(type);
    await using engine = await withUploads(disk, 1, MIB);
    await engine.evictor.makeRoom(MIB);
    assert(!engine.has("f0"));
    await disk.fill(0);
    const answer = await engine.restorer.fetch("f0");
    assertEquals(answer.kind, "error");
    assert(!engine.has("f0"));
    assertEquals([...Deno.readDirSync(`${engine.dir}/.p4cache/restore`)], []);
    disk.empty();
    assertEquals((await engine.restorer.fetch("f0")).kind, "ok");
  });

  Deno.test(`${type}: the manifest goes on from its reserve when the disk is full`, async () => {
    await using disk = await SmallDisk.make(type);
    await using engine = await withUploads(disk, 40, 0.25 * MIB);
    assert(engine.reserve.isHeld);
    const raised: string[] = [];
    const { health } = engine, raise = health.raise.bind(health);
    health.raise = (name, ...rest) => {
      raised.push(name);
      raise(name, ...rest);
    };
    await disk.fill(0);
    // Records that need new pages, more than half of what is set aside.
    for (let i = 0; i < 5000; i++) engine.intake.changed(`d/${i}` as never, 1);
    assert(await engine.manifest.commitWithin(20_000));
    assert(!engine.reserve.isHeld);
    assertEquals(raised, []);
    await until("room was made and the reserve taken again", () => {
      engine.evictor.notice();
      return engine.reserve.isHeld;
    });
    assert(present(engine) < 40);
  });

  Deno.test(`${type}: where the manifest has no room at all, a restore is answered, and all goes on later`, async () => {
    await using disk = await SmallDisk.make(type);
    await using engine = await withUploads(disk, 40, 0.25 * MIB);
    await engine.evictor.makeRoom(MIB);
    const [gone] = Array.from({ length: 40 }, (_, i) => i).filter((i) => !engine.has(`f${i}`));
    await engine.manifest.commit();
    engine.reserve.release();
    await disk.fill(0);
    for (let i = 0; i < 5000; i++) engine.intake.changed(`d/${i}` as never, 1);
    await until("it says so", () => engine.health.isRaised("manifest_unwritable"));
    assertEquals((await engine.restorer.fetch(`f${gone}`)).kind, "error");
    await engine.evictor.makeRoom(MIB);
    disk.empty();
    await until("it is over", () => !engine.health.isRaised("manifest_unwritable"));
    assertEquals((await engine.restorer.fetch(`f${gone}`)).kind, "ok");
    await engine.evictor.makeRoom(MIB);
    assertEquals([...Deno.readDirSync(`${engine.dir}/.p4cache/trash`)], []);
  });
}

Deno.test({
  name: "ext4: eviction keeps the floor of free inodes",
  ignore: !SMALL_DISKS.includes("ext4"),
  fn: async () => {
    await using disk = await SmallDisk.make("ext4", "-N", "512");
    await using engine = await withUploads(disk, 300, 100, { minFreeInodes: 300 });
    const freeInodes = () => engine.files.space().freeInodes;
    assert(freeInodes() < 300);
    engine.evictor.notice();
    await until("the floor is kept", () => freeInodes() >= 300);
    assert(present(engine) > 50, `${present(engine)} files left`);
  },
});

Deno.test({
  name: "a directory that takes no files for a while: clean errors, and it recovers by itself",
  ignore: !SMALL_DISKS.includes("ext4"),
  fn: async () => {
    await using disk = await SmallDisk.make("ext4");
    await using engine = await withUploads(disk, 2, 1000);
    await engine.evictor.makeRoom(1000);
    await run("chattr", ["+i", engine.dir]);
    try {
      await engine.evictor.makeRoom(1000); // the other one cannot be moved
      assertEquals(present(engine), 1);
      assertEquals((await engine.restorer.fetch("f0")).kind, "error");
      assertEquals(engine.manifest.counters.total, 1);
    } finally {
      await run("chattr", ["-i", engine.dir]);
    }
    assertEquals((await engine.restorer.fetch("f0")).kind, "ok");
    await engine.evictor.makeRoom(2000);
    assertEquals(present(engine), 0);
  },
});
