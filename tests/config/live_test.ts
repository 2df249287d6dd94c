/** What a new configuration changes while the daemon runs. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Config, S3Config } from "../../src/config/config.ts";
import { changesOf, LIVE_FIELDS, PLACE_FIELDS, takeOver } from "../../src/config/live.ts";
import { BACKEND_SETTINGS } from "../../src/config/backend_settings.ts";
import { DAEMON_SETTINGS } from "../../src/config/daemon_settings.ts";

const PRIMARY = { type: "s3", bucket: "b", accessKey: "old", secretKey: "s" } as S3Config;
const CONFIG = {
  depotPath: "/d",
  lowWatermarkBytes: 10,
  exclude: ["*.bak"],
  accessDbPath: "/a",
  primary: PRIMARY,
  secondary: null,
} as unknown as Config;

Deno.test("every live field and every place field is one of a setting", () => {
  const daemon = new Set<string>(DAEMON_SETTINGS.map((setting) => setting.field));
  for (const field of LIVE_FIELDS) assert(daemon.has(field), field);
  const backend = new Set<string>(BACKEND_SETTINGS.map((setting) => setting.field));
  for (const field of PLACE_FIELDS) assert(backend.has(field), field);
});

Deno.test("limits are taken over at once, the rest waits for a restart, by the names people wrote", () => {
  const config = { ...CONFIG };
  const next = { ...CONFIG, lowWatermarkBytes: 5, exclude: ["*.bak"], accessDbPath: "/b" };
  const changes = changesOf(config, next);
  assertEquals(changes, { live: ["low_watermark_gb"], restart: ["access_db_path"], backends: [] });
  takeOver(config, next, changes);
  assertEquals([config.lowWatermarkBytes, config.accessDbPath], [5, "/a"]);
  assertEquals(changesOf(config, config), { live: [], restart: [], backends: [] });
});

Deno.test("other credentials open the backend anew; another place waits, with its credentials", () => {
  const config = { ...CONFIG };
  const primary = { ...PRIMARY, accessKey: "new" };
  const next = { ...CONFIG, primary };
  const changes = changesOf(config, next);
  assertEquals(changes, {
    live: ["primary.access_key"],
    restart: [],
    backends: [["primary", primary]],
  });
  takeOver(config, next, changes);
  assertEquals(config.primary, primary);
  const moved = { ...CONFIG, primary: { ...primary, bucket: "c" }, secondary: PRIMARY };
  assertEquals(changesOf(CONFIG, moved), {
    live: [],
    restart: ["primary.bucket", "primary.access_key", "secondary"],
    backends: [],
  });
});
