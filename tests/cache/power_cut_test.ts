/** P1, P2: what is believed of files after the machine went down. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { PlatterSync } from "../../src/cache/platter_sync.ts";
import { Engine } from "./engine.ts";
import { getLog } from "../../src/observe/logging.ts";

const PATH = "d/a,v" as DepotPath;
const SECOND_NS = 1_000_000_000n, STORED_SECONDS = 1_700_000_000;

const nowNs = () => BigInt(Date.now()) * 1_000_000n;

/** A depot on a machine that lost its power while a daemon ran; the file is stored as "stored". */
async function afterCut(test: (engine: Engine) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "engine" });
  try {
    const objects = await (async () => {
      await using engine = new Engine({ dir });
      await engine.powerCut.settle({ id: "one", atNs: 0n });
      await engine.manifest.setRunning(true);
      engine.uploader.start();
      engine.write(PATH, "stored");
      Deno.utimeSync(`${dir}/${PATH}`, STORED_SECONDS, STORED_SECONDS);
      engine.intake.changed(PATH, 6);
      await engine.settled();
      return engine.primary.objects;
    })();
    await using engine = new Engine({ dir });
    for (const [path, object] of objects) engine.primary.objects.set(path, object);
    await test(engine);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const boot = (atNs: bigint) => ({ id: "two", atNs });
const soon = () => boot(nowNs() + 60n * SECOND_NS);

/** Puts the content at the path, as a journal that was replayed does: nobody is told. */
function leave({ dir }: Engine, content: string, mtimeSeconds: number): void {
  Deno.writeTextFileSync(`${dir}/${PATH}`, content);
  Deno.utimeSync(`${dir}/${PATH}`, mtimeSeconds, mtimeSeconds);
}

const kept = ({ dir }: Engine) =>
  Array.from(
    Deno.readDirSync(`${dir}/.p4cache/conflicts`),
    ({ name }) => Deno.readTextFileSync(`${dir}/.p4cache/conflicts/${name}`),
  );

const LEFT = [
  { what: "empty", content: "", seconds: STORED_SECONDS },
  { what: "an earlier version", content: "older", seconds: STORED_SECONDS - 1 },
];
for (const { what, content, seconds } of LEFT) {
  Deno.test(`P1: what a power cut left is not uploaded over what was stored: ${what}`, () =>
    afterCut(async (engine) => {
      leave(engine, content, seconds);
      // As the scan finds it, or the queue holds it.
      engine.intake.changed(PATH, content.length);
      await engine.powerCut.settle(soon());
      engine.uploader.start();
      await engine.settled();
      assertEquals(engine.has(PATH), false);
      assertEquals(engine.stored(PATH), "stored");
      assertEquals(kept(engine), [content]);
      assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
      assertEquals(engine.read(PATH), "stored");
    }));
}

Deno.test("P1: after a power cut a file that is newer than its object is uploaded", () =>
  afterCut(async (engine) => {
    leave(engine, "newer", STORED_SECONDS + 1);
    await engine.powerCut.settle(soon());
    engine.intake.changed(PATH, 5);
    engine.uploader.start();
    await engine.settled();
    assertEquals([engine.stored(PATH), engine.read(PATH)], ["newer", "newer"]);
  }));

Deno.test("P1: what somebody puts back after the boot counts, however old its time is", () =>
  afterCut(async (engine) => {
    await engine.powerCut.settle(boot(nowNs() - 60n * SECOND_NS));
    leave(engine, "from a backup", STORED_SECONDS - 1000);
    engine.intake.changed(PATH, 13);
    engine.uploader.start();
    await engine.settled();
    assertEquals([engine.stored(PATH), engine.read(PATH)], ["from a backup", "from a backup"]);
  }));

Deno.test("P2: a file with the stored version's size and time, and other bytes, is away before anybody is served", () =>
  afterCut(async (engine) => {
    leave(engine, "\0\0\0\0\0\0", STORED_SECONDS);
    await engine.powerCut.settle(soon());
    assertEquals([engine.has(PATH), engine.manifest.get(PATH)], [false, null]);
    assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
    assertEquals(engine.read(PATH), "stored");
  }));

Deno.test("a crash of the daemon alone, and files that were synced, cost no look", () =>
  afterCut(async (engine) => {
    leave(engine, "\0\0\0\0\0\0", STORED_SECONDS);
    await engine.powerCut.settle({ id: "one", atNs: soon().atNs });
    assertEquals(engine.has(PATH), true);
    const { files, manifest } = engine;
    const sync = new PlatterSync({ files, manifest, log: getLog("daemon") });
    assertEquals([manifest.unsynced.any, await sync.sync()], [true, true]);
    await manifest.commit();
    assertEquals(manifest.unsynced.any, false);
    await engine.powerCut.settle(soon());
    assertEquals(engine.has(PATH), true);
  }));

Deno.test("what becomes clean during a sync is not taken for synced, nor anything by one that fails", () =>
  afterCut(async (engine) => {
    const { manifest } = engine;
    const log = getLog("daemon");
    const noted = async () => {
      await manifest.commit();
      return await Array.fromAsync(manifest.unsynced.notes(), ({ path }) => path);
    };
    const sync = (files: { sync: () => Promise<void> }) =>
      new PlatterSync({ files, manifest, log }).sync();
    assertEquals(await sync({ sync: () => Promise.resolve(manifest.unsynced.note("d/b")) }), true);
    assertEquals(await noted(), ["d/b"]);
    assertEquals(await sync({ sync: () => Promise.reject(new Error("EIO")) }), false);
    assertEquals(await noted(), ["d/b"]);
    for (let i = 0; i < 2; i++) assertEquals(await sync(engine.files), true);
    assertEquals(await noted(), []);
  }));
