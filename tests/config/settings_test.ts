/** The table of settings and what is derived from it. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { jsonSchema } from "../../src/config/json_schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { configDocument } from "../../src/config/print.ts";
import { referencePage } from "../../src/config/reference.ts";
import { BACKEND_SETTINGS } from "../../src/config/backend_settings.ts";
import { DAEMON_SETTINGS } from "../../src/config/daemon_settings.ts";
import { flagName, ROLES, type Setting } from "../../src/config/setting.ts";

/** Flags and keys of the contract, as a plain list of their own. */
const FLAGS = `--depot-path --read-only --max-cache-gb --max-cache-bytes --low-watermark-gb
  --low-watermark-bytes --upload-threads --restore-threads --skip-startup-scan --daemon --pid-file
  --log-file --verbose --stats-interval --metrics-file --metrics-interval --no-access-log
  --access-batch-size --access-mapsize-gb --access-db-path`;
const BACKEND_FLAGS = `type endpoint bucket container region access-key secret-key account-name
  account-key sas-token project-id credentials-file path prefix ca-cert no-verify-ssl sse`;
const KEYS = `depot_path read_only max_cache_gb max_cache_bytes low_watermark_gb
  low_watermark_bytes upload_threads upload_concurrency upload_batch_size upload_poll_interval
  restore_threads skip_startup_scan daemon pid_file log_file verbose stats_interval metrics_file
  metrics_interval access_log_enabled access_batch_size access_flush_interval_secs
  access_sync_interval_secs access_mapsize_gb access_db_path`;
const BACKEND_KEYS = `type endpoint bucket container region access_key secret_key account_name
  account_key sas_token project_id credentials_file path path_prefix ca_cert_path verify_ssl
  server_side_encryption`;

const words = (text: string) => text.split(/\s+/);
const keys = (settings: readonly Setting[]) => new Set(settings.map((setting) => setting.key));

Deno.test("every flag and key of the contract exists", () => {
  const flags = new Set(DAEMON_SETTINGS.map((setting) => flagName(setting, null)));
  for (const flag of words(FLAGS)) assert(flags.has(flag), flag);
  for (const role of ROLES) {
    const own = new Set(BACKEND_SETTINGS.map((setting) => flagName(setting, role)));
    for (const flag of words(BACKEND_FLAGS)) assert(own.has(`--${role}-${flag}`), flag);
  }
  for (const key of words(KEYS)) assert(keys(DAEMON_SETTINGS).has(key), key);
  for (const key of words(BACKEND_KEYS)) assert(keys(BACKEND_SETTINGS).has(key), key);
});

Deno.test("no flag or key is there twice", () => {
  for (const settings of [DAEMON_SETTINGS, BACKEND_SETTINGS]) {
    assertEquals(keys(settings).size, settings.length);
    const flags = settings.map((setting) => setting.flag).filter((flag) => flag !== null);
    assertEquals(new Set(flags).size, flags.length);
  }
});

Deno.test("the reference page is what the table gives ('deno task docs' renews it)", () => {
  const page = new URL("../../docs/reference/configuration.md", import.meta.url);
  assertEquals(Deno.readTextFileSync(page), referencePage());
});

Deno.test("a printed configuration loads to the same configuration", () => {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-config-" });
  try {
    const file = `${dir}/config.json`;
    const flags = new Map<string, string | true>([
      ["--depot-path", dir],
      ["--primary-type", "s3"],
      ["--primary-bucket", "b"],
      ["--primary-no-verify-ssl", true],
      ["--secondary-type", "gcs"],
      ["--secondary-bucket", "c"],
      ["--max-cache-gb", "3.5"],
      ["--no-access-log", true],
      ["--pid-file", "p4-cache.pid"],
    ]);
    const config = loadConfig(flags, () => undefined);
    Deno.writeTextFileSync(file, JSON.stringify(configDocument(config)));
    assertEquals(loadConfig(new Map([["--config", file]]), () => undefined), config);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("a printed configuration shows no secret", () => {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-config-" });
  try {
    const flags = new Map<string, string | true>([
      ["--depot-path", dir],
      ["--primary-type", "s3"],
      ["--primary-bucket", "b"],
      ["--primary-access-key", "AKIA-one"],
      ["--primary-secret-key", "hush-one"],
      ["--secondary-type", "azure"],
      ["--secondary-container", "c"],
      ["--secondary-account-name", "n"],
      ["--secondary-account-key", "hush-two"],
    ]);
    const text = JSON.stringify(configDocument(loadConfig(flags, () => undefined)));
    assertEquals(/hush|AKIA/.exec(text), null);
    assertStringIncludes(text, '"secret_key":"***"');
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("the JSON Schema knows exactly the keys of the table", () => {
  const schema = jsonSchema() as {
    properties: Record<string, unknown>;
    $defs: { backend: { oneOf: { properties: Record<string, unknown> }[] } };
  };
  const top = new Set([...keys(DAEMON_SETTINGS), "$schema", ...ROLES]);
  assertEquals(new Set(Object.keys(schema.properties)), top);
  const inBackends = schema.$defs.backend.oneOf.flatMap((one) => Object.keys(one.properties));
  assertEquals(new Set(inBackends), keys(BACKEND_SETTINGS));
});
