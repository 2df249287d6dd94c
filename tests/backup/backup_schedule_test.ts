/**
 * Scheduled backups: made, counted, and the oldest removed.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { listFolders } from "../../src/backup/backup_set.ts";
import { BackupSchedule } from "../../src/backup/backup_schedule.ts";
import { openPlace } from "../../src/backup/backup_place.ts";
import type { BackupParts } from "../../src/backup/make_backup.ts";
import type { Config } from "../../src/config/config.ts";
import { getLog } from "../../src/observe/logging.ts";
import { Engine } from "../cache/engine.ts";

const never = new AbortController().signal;

function configOf(engine: Engine, store: string): Config {
  return {
    depotPath: engine.dir,
    primary: { type: "nfs", path: store },
    secondary: null,
    minFreeBytes: 0,
    backupRetention: 2,
    backupTo: null,
  } as unknown as Config;
}

Deno.test("a scheduled backup is made whole, the oldest go, and a failure is counted", async () => {
  await using engine = new Engine();
  const store = `${engine.dir}-store`;
  Deno.mkdirSync(store);
  try {
    engine.write("file", "content");
    const right = { isHeld: true };
    const { files, manifest } = engine;
    const config = configOf(engine, store);
    const parts: BackupParts = { config, files, manifest, accessLog: null, storage: "nfs:" };
    const registry = engine.metrics.registry;
    const schedule = new BackupSchedule(parts, right, registry, getLog("backup"));
    const place = await openPlace({ type: "nfs", path: `${store}/.p4cache/backups` }, true);
    const names = async () => (await listFolders(place, never)).whole;
    const metric = async (name: string) =>
      Number(new RegExp(`^${name}\\{?.*\\}? ([0-9.]+)$`, "m").exec(await registry.metrics())?.[1]);
    try {
      for (const day of ["2020-01-01", "2020-01-02", "2020-01-03"]) {
        const dir = `${store}/.p4cache/backups/${day}T00-00-00Z`;
        Deno.mkdirSync(dir);
        Deno.writeTextFileSync(`${dir}/backup.json`, "{}");
      }
      right.isHeld = false;
      await schedule.makeScheduled();
      assertEquals((await names()).length, 3, "a daemon that was replaced makes none");
      right.isHeld = true;
      await schedule.makeScheduled();
      const [kept, made, ...rest] = await names();
      assertEquals([kept, rest], ["2020-01-03T00-00-00Z", []]);
      assertMatch(made!, /^2\d{3}-\d\d-\d\dT/);
      assertEquals(await metric("p4cache_backup_failures_total"), 0);
      assertEquals(await metric("p4cache_backup_last_timestamp_seconds") > 0, true);
      // Where a file stands in the way of the place.
      Deno.removeSync(`${store}/.p4cache`, { recursive: true });
      Deno.writeTextFileSync(`${store}/.p4cache`, "in the way");
      await schedule.makeScheduled();
      assertEquals(await metric("p4cache_backup_failures_total"), 1);
    } finally {
      await schedule.stop();
      await place.close();
    }
  } finally {
    Deno.removeSync(store, { recursive: true });
  }
});
