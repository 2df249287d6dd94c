/**
 * Which backups there are, which one is meant, and which go.
 *
 * @module
 */

import { assertEquals, assertRejects, assertThrows } from "deno-std/assert/mod.js";
import {
  type BackupInfo,
  chooseBackup,
  INFO_FILE,
  listFolders,
  nameOf,
  pathOf,
  pruneBackups,
  timeOfName,
} from "../../src/backup/backup_set.ts";
import { placeConfig } from "../../src/config/place_config.ts";
import { readBackupFile, verifyBackup } from "../../src/backup/read_backup.ts";
import type { BackendConfig } from "../../src/config/config.ts";
import { isCronPattern } from "../../src/config/cron_pattern.ts";
import { bytesContent } from "../../src/storage/bytes_content.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";
import { s3Config } from "../storage/versitygw.ts";

const never = new AbortController().signal;
const DAY_MS = 86_400_000;

function info(madeAt: Date): BackupInfo {
  return {
    format: 1,
    madeAt: madeAt.toISOString(),
    version: "0",
    depot: "/depot",
    storage: "memory:",
    compact: false,
    tracked: 3,
    files: [{
      name: "manifest.mdb",
      sizeBytes: 5,
      // sha256sum of "bytes"
      sha256: "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9",
    }],
  };
}

async function put(place: MemoryBackend, name: string, file: string, text: string): Promise<void> {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  await place.put(pathOf(name, file), bytesContent(bytes, 0), never);
}

async function withBackups(days: readonly number[]): Promise<MemoryBackend> {
  const place = new MemoryBackend();
  for (const day of days) {
    const madeAt = new Date(day * DAY_MS);
    await put(place, nameOf(madeAt), "manifest.mdb", "bytes");
    await put(place, nameOf(madeAt), INFO_FILE, JSON.stringify(info(madeAt)));
  }
  return place;
}

Deno.test("a backup's name is its time", () => {
  const madeAt = new Date("2026-01-31T12:34:56.789Z");
  assertEquals(nameOf(madeAt), "2026-01-31T12-34-56Z");
  assertEquals(timeOfName(nameOf(madeAt)), Date.parse("2026-01-31T12:34:56Z"));
});

Deno.test("the latest backup of a time or before is chosen, and none that is younger", async () => {
  const place = await withBackups([10, 12, 14]);
  const chosen = async (at: number | null) =>
    timeOfName((await chooseBackup(place, at, never)).name);
  assertEquals(await chosen(null), 14 * DAY_MS);
  assertEquals(await chosen(13 * DAY_MS), 12 * DAY_MS);
  assertEquals(await chosen(12 * DAY_MS), 12 * DAY_MS);
  await assertRejects(() => chosen(9 * DAY_MS), Error, "the oldest is 1970-01-11");
  await assertRejects(() => chooseBackup(new MemoryBackend(), null, never), Error, "there is none");
});

Deno.test("the oldest backups go first, and what was begun and never ended a day later", async () => {
  const place = await withBackups([10, 11, 12]);
  await put(place, nameOf(new Date(13 * DAY_MS)), "manifest.mdb", "half");
  await put(place, "notes", "of_somebody", "else");
  const now = 13 * DAY_MS + 1000;
  assertEquals(await pruneBackups(place, 2, now, never), [nameOf(new Date(10 * DAY_MS))]);
  assertEquals((await listFolders(place, never)).begun.length, 1, "it may be under way");
  assertEquals(await pruneBackups(place, 2, now + DAY_MS, never), []);
  const left = await listFolders(place, never);
  assertEquals([left.whole.length, left.begun], [2, []]);
  assertEquals(place.objects.has("notes/of_somebody"), true);
});

Deno.test("a backup that was not removed whole is no backup", async () => {
  const place = await withBackups([10, 11]);
  place.fault = (operation, path) => {
    if (operation === "delete" && path.endsWith("manifest.mdb")) throw new Error("the line is cut");
  };
  await assertRejects(() => pruneBackups(place, 1, 12 * DAY_MS, never), Error, "the line is cut");
  assertEquals((await listFolders(place, never)).whole, [nameOf(new Date(11 * DAY_MS))]);
});

Deno.test("a file that is not as it was described is refused", async () => {
  const place = await withBackups([10]);
  const backup = await chooseBackup(place, null, never);
  assertEquals(await verifyBackup(place, backup, never), []);
  const read: string[] = [];
  const take = (bytes: Uint8Array) => void read.push(new TextDecoder().decode(bytes));
  await readBackupFile(place, backup, "manifest.mdb", take, never);
  assertEquals(read.join(""), "bytes");
  await put(place, backup.name, "manifest.mdb", "bytez");
  assertEquals((await verifyBackup(place, backup, never)).length, 1);
  await place.delete(pathOf(backup.name, "manifest.mdb"), never);
  assertEquals((await verifyBackup(place, backup, never)).length, 1);
});

Deno.test("backups lie below the primary's prefix, or where they are told to", () => {
  const s3: BackendConfig = s3Config("http://127.0.0.1:1", { prefix: "depot" });
  const at = (config: BackendConfig) =>
    config.type === "nfs" ? config.path : "bucket" in config ? [config.bucket, config.prefix] : [];
  assertEquals(at(placeConfig(s3, null)), [s3.bucket, "depot/.p4cache/backups"]);
  assertEquals(at(placeConfig({ ...s3, prefix: "" }, null)), [s3.bucket, ".p4cache/backups"]);
  assertEquals(at(placeConfig(s3, "s3://other/a/b/")), ["other", "a/b"]);
  assertEquals(at(placeConfig(s3, "s3://other")), ["other", ""]);
  assertEquals(at(placeConfig(s3, "/mnt/backup/")), "/mnt/backup");
  assertEquals(at(placeConfig({ type: "nfs", path: "/store" }, null)), "/store/.p4cache/backups");
  for (const place of ["gs://other", "s3:", "ftp://x/y", "relative", "s3:///x"]) {
    assertThrows(() => placeConfig(s3, place), Error, "Cannot keep backups");
  }
});

Deno.test("a schedule has five fields", () => {
  for (const pattern of ["30 2 * * *", "*/15 * * * *", "0 3 1,15 * 1-5"]) {
    assertEquals(isCronPattern(pattern), true, pattern);
  }
  for (const pattern of ["", "@daily", "* * * *", "* * * * * *", "61 * * * *", "a b c d e"]) {
    assertEquals(isCronPattern(pattern), false, pattern);
  }
});
