/** What a power cut leaves of files that nobody synced. @module */

import { assert, assertEquals, assertGreater } from "deno-std/assert/mod.js";
import { BINARY, DaemonProcess, mayWatch, run, TempDir, until } from "../e2e/daemon_process.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import { Random } from "../sim/random.ts";
import { someBytes } from "../storage/contents.ts";
import { FaultyStorage, faultyStorageMissing } from "../stress/faulty_storage.ts";
import { CutDisk } from "./cut_disk.ts";
import { SMALL_DISKS } from "./small_disk.ts";

const FILES = 60, BYTES = 20_000, RESTORES = 200;

const missing = !mayWatch() || SMALL_DISKS.length < 2;
if (missing) console.log("power cuts are skipped: they need root, ext4 and xfs");

type Contents = Map<string, Uint8Array<ArrayBuffer>>;

function isSame(path: string, bytes: Uint8Array): boolean {
  try {
    const found = Deno.readFileSync(path);
    return found.length === bytes.length && found.every((byte, i) => byte === bytes[i]);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const wrong = (dir: string, contents: Contents) =>
  [...contents].filter(([name, bytes]) => !isSame(`${dir}/${name}`, bytes)).map(([name]) => name);

/** @param storage Behind a network that breaks; null: a directory. */
async function cutPower(storage: FaultyStorage | null): Promise<void> {
  using dir = new TempDir();
  const store = storage?.store ?? `${dir.path}/store`;
  if (storage === null) Deno.mkdirSync(store);
  await using disk = await CutDisk.make();
  const depot = `${disk.path}/depot`;
  Deno.mkdirSync(`${depot}/d`, { recursive: true });
  const args = storage?.args ?? ["--primary-type", "nfs", "--primary-path", store];
  const start = () => DaemonProcess.start(depot, args, disk.through());
  const contents: Contents = new Map();
  const write = (name: string, seed: number) => {
    contents.set(name, someBytes(BYTES, seed));
    Deno.writeFileSync(`${depot}/${name}`, contents.get(name)!);
  };
  const stored = () => until("everything is stored", () => wrong(store, contents).length === 0);
  // An answer may have got lost: then what is stored is sent again. That it is clean is durable then.
  const clean = async () => {
    const { code, stderr } = await run(BINARY, ["flush", "--wait", "--depot-path", depot]);
    assertEquals(code, 0, stderr);
  };

  // Stored, and no longer here.
  const names = Array.from({ length: FILES }, (_, i) => `d/old${i}`);
  await using first = await start();
  for (const [i, name] of names.entries()) write(name, 1 + i);
  await stored();
  await clean();
  assertEquals(await first.stop(), 0, first.log());
  for (const name of names) Deno.removeSync(`${depot}/${name}`);

  storage?.storm(new Random(Date.now() % 1_000_000));
  // Restored; some of these rewritten where they are; new ones written; all that without a sync.
  await using second = await start();
  for (const name of names) await bring(second, name);
  for (const [i, name] of names.slice(0, FILES / 3).entries()) write(name, 1000 + i);
  for (let i = 0; i < FILES; i++) write(`d/new${i}`, 2000 + i);
  await stored();
  // The manifest's last commit, which takes the names to the disk, and not the bytes.
  await clean();
  write("d/last", 3000);
  await stored();
  await disk.cut();
  await second.kill();
  await disk.comeBack();

  const torn = wrong(depot, contents).filter((name) => exists(`${depot}/${name}`));
  assertGreater(torn.length, FILES / 4, "the cut tore too little to show anything");

  await using third = await start();
  for (const [name, bytes] of contents) {
    if (name === "d/last") continue; // its record may be lost; it is looked at below
    await bring(third, name);
    assert(isSame(`${depot}/${name}`, bytes), `${name} is not what was stored`);
  }
  await until("nothing is left to upload", async () => await dirtyFiles(third) === 0);
  await bring(third, "d/last");
  assertEquals(wrong(depot, contents), []);
  assertEquals(wrong(store, contents), []);
  await storage?.calm();
  assertEquals(await third.stop(), 0, third.log());
}

Deno.test({
  name: "P1, P2: after a power cut every file is what was stored, though the disk has less of it",
  ignore: missing,
  fn: () => cutPower(null),
});

Deno.test({
  name: "P1, P2: the same where the storage is behind a network that breaks",
  ignore: missing || faultyStorageMissing !== null,
  fn: async () => {
    await using storage = await FaultyStorage.start();
    await cutPower(storage);
  },
});

/**
 * Cuts the power while files are restored, the last of them so lately that only their marks tell of them.
 * @param mode Flags of the daemon.
 */
async function cutRestores(type: string, mode: readonly string[]): Promise<void> {
  using dir = new TempDir();
  await using disk = await CutDisk.make(type);
  const store = `${dir.path}/store`, depot = `${disk.path}/depot`;
  Deno.mkdirSync(depot);
  const args = ["--primary-type", "nfs", "--primary-path", store, "--skip-startup-scan", ...mode];
  const start = () => DaemonProcess.start(depot, args, disk.through());
  const contents: Contents = new Map();
  for (let i = 0; i < RESTORES; i++) {
    const name = `d${i % 7}/file${i}`;
    contents.set(name, someBytes(BYTES, 1 + i));
    Deno.mkdirSync(`${store}/d${i % 7}`, { recursive: true });
    Deno.writeFileSync(`${store}/${name}`, contents.get(name)!);
  }

  await using first = await start();
  let answered = 0;
  const names = [...contents.keys()];
  const client = async () => {
    for (let name = names.pop(); name !== undefined; name = names.pop()) {
      const answer = await first.fetch(name).catch(() => "");
      if (answer === "") return; // it was stopped
      assertEquals(answer, `OK ${BYTES}`, name);
      if (++answered === RESTORES / 2) Deno.kill(first.pid, "SIGSTOP");
    }
  };
  const clients = Promise.all(Array.from({ length: 4 }, client));
  await until("half of them are restored", () => answered >= RESTORES / 2);
  // Somebody else's sync takes all names to the disk, and not the bytes.
  const other = Deno.openSync(`${disk.path}/other`, { create: true, write: true });
  other.syncSync();
  other.close();
  await disk.cut();
  await first.kill();
  await clients;
  await disk.comeBack();

  const torn = () => wrong(depot, contents).filter((name) => exists(`${depot}/${name}`));
  const before = torn();
  assertGreater(before.length, 0, "the cut tore nothing");
  const unknown = await untracked(`${depot}/.p4cache/manifest`, `${dir.path}/manifest`, before);
  assertGreater(unknown.length, 0, "the manifest knew all that was torn");

  await using second = await start();
  assertEquals(torn(), []);
  for (const name of contents.keys()) await bring(second, name);
  assertEquals(wrong(depot, contents), []);
  assertEquals(wrong(store, contents), []);
  assertEquals(await second.stop(), 0, second.log());
}

/** Those of the paths that a copy of the manifest has no record of. */
async function untracked(from: string, to: string, paths: string[]): Promise<string[]> {
  await run("cp", ["-r", from, to]);
  const manifest = openManifest(to, (path) => path, () => {});
  const unknown = paths.filter((path) => manifest.get(path) === null);
  await manifest.close();
  return unknown;
}

for (const type of SMALL_DISKS) {
  for (const mode of [[], ["--read-only"]]) {
    Deno.test({
      name:
        `P2: no file that was restored just before a power cut is torn after it: ${type} ${mode}`,
      ignore: missing,
      fn: () => cutRestores(type, mode),
    });
  }
}

/** Asks for a file until its storage can tell; then it is there. */
async function bring(daemon: DaemonProcess, name: string): Promise<void> {
  let answer = await daemon.fetch(name);
  while (answer.startsWith("ERROR")) answer = await daemon.fetch(name);
  assertEquals(answer, `OK ${BYTES}`, name);
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

async function dirtyFiles({ depot }: DaemonProcess): Promise<number> {
  const { stdout } = await run(BINARY, ["status", "--json", "--depot-path", depot]);
  return JSON.parse(stdout).files.dirty;
}
