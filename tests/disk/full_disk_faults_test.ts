/** A full disk and a network that breaks, at the same time. @module */

import { assertEquals, assertGreater, assertMatch } from "deno-std/assert/mod.js";
import { DaemonProcess, mayWatch, TempDir, until } from "../e2e/daemon_process.ts";
import { someBytes } from "../storage/contents.ts";
import { readCounts } from "../stress/counts.ts";
import { FaultyStorage, faultyStorageMissing } from "../stress/faulty_storage.ts";
import { SMALL_DISKS, SmallDisk } from "./small_disk.ts";

const FILES = 120, BYTES = 40_000;

/** Bytes that the cache keeps: half of them. */
const WATERMARK_BYTES = FILES * BYTES / 2;

/** Files that are rewritten where they are, while nothing else has room. */
const REWRITTEN = 10;

const DISKS = [
  {
    name: "ext4 without bytes",
    type: "ext4",
    options: [],
    fill: (disk: SmallDisk) => disk.fill(0),
  },
  { name: "xfs without bytes", type: "xfs", options: [], fill: (disk: SmallDisk) => disk.fill(0) },
  {
    name: "ext4 without inodes",
    type: "ext4",
    options: ["-N", "512"],
    fill: (disk: SmallDisk) => disk.fillInodes(),
  },
];

const missing = mayWatch() ? faultyStorageMissing : "it needs CAP_SYS_ADMIN";
if (missing !== null) console.log(`full disks behind a bad network are skipped: ${missing}`);

for (const { name, type, options, fill } of DISKS) {
  Deno.test({
    name: `P1–P3: ${name}, and a network that breaks: nothing is lost, and files come back`,
    ignore: missing !== null || !SMALL_DISKS.includes(type),
    fn: async () => {
      await using disk = await SmallDisk.make(type, ...options);
      await using storage = await FaultyStorage.start();
      using dir = new TempDir();
      const depot = `${disk.path}/depot`, metrics = `${dir.path}/metrics.prom`;
      Deno.mkdirSync(depot);
      await using daemon = await DaemonProcess.start(depot, [
        ...storage.args,
        ...["--low-watermark-bytes", String(WATERMARK_BYTES)],
        ...["--max-cache-bytes", String(2 * WATERMARK_BYTES)],
        ...["--metrics-file", metrics],
      ]);
      const contents = Array.from({ length: FILES }, (_, i) => someBytes(BYTES, 1 + i));
      const isHere = (i: number) => here(`${depot}/f${i}`) !== null;
      const isStored = (i: number) => isEqual(here(`${storage.store}/f${i}`), contents[i]!);
      for (const [i, bytes] of contents.entries()) Deno.writeFileSync(`${depot}/f${i}`, bytes);
      await until("all is stored", () => contents.every((_, i) => isStored(i)));
      await until("half of it is evicted", () => contents.filter((_, i) => isHere(i)).length < 80);

      await fill(disk);
      const local = contents.map((_, i) => i).filter(isHere).slice(-REWRITTEN);
      for (const i of local) {
        // It may go in this moment: then nobody rewrites it.
        const bytes = someBytes(BYTES, 1000 + i);
        if (rewrite(`${depot}/f${i}`, bytes)) contents[i] = bytes;
      }
      for (const [i, bytes] of contents.entries()) await bring(daemon, i, bytes);
      assertEquals([...Deno.readDirSync(`${depot}/.p4cache/restore`)], []);
      await storage.calm();
      disk.empty();
      for (const [i, bytes] of contents.entries()) await bring(daemon, i, bytes);
      await until("all is stored", () => contents.every((_, i) => isStored(i)));
      assertEquals(await daemon.stop(), 0);
      const { evictions, restores, failures } = readCounts(metrics);
      console.log(`${evictions} evictions, ${restores} restores, ${failures} failed attempts`);
      // Else it showed nothing.
      assertGreater(failures, 0);
    },
  });
}

/** The bytes of a file; null when it is not there. */
function here(path: string): Uint8Array | null {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

function isEqual(found: Uint8Array | null, bytes: Uint8Array): boolean {
  return found?.length === bytes.length && found.every((byte, i) => byte === bytes[i]);
}

/** Overwrites in place; needs no room. Whether the file was there. */
function rewrite(path: string, bytes: Uint8Array): boolean {
  try {
    using file = Deno.openSync(path, { write: true });
    assertEquals(file.writeSync(bytes), bytes.length);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Asks until the file is there, whole; no answer may say "absent". */
async function bring(daemon: DaemonProcess, i: number, bytes: Uint8Array): Promise<void> {
  for (;;) {
    const answer = await daemon.fetch(`f${i}`);
    assertMatch(answer, /^(OK|ERROR) /, `f${i}`);
    const found = here(`${daemon.depot}/f${i}`);
    // Not brought, or evicted again since.
    if (found === null) continue;
    if (!isEqual(found, bytes)) throw new Error(`f${i} is not what was written last`);
    return;
  }
}
