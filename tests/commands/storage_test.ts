/** What the daemon says and counts about storage whose server is not verified. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { Logger } from "@logtape/logtape";
import { Registry } from "prom-client";
import { openStorage, warnOfUnverified } from "../../src/commands/storage.ts";
import { loadConfig } from "../../src/config/load.ts";

Deno.test("storage: a server whose certificate is not checked is warned of, and in the metrics", async () => {
  const depot = await Deno.makeTempDir();
  const file = `${depot}/config.json`;
  const s3 = { type: "s3", bucket: "b", endpoint: "https://127.0.0.1:1" };
  const document = {
    depot_path: depot,
    primary: s3,
    secondary: { ...s3, bucket: "c", verify_ssl: false },
  };
  await Deno.writeTextFile(file, JSON.stringify(document));
  const config = loadConfig(new Map([["--config", file]]), () => undefined);
  const warnings: string[] = [];
  warnOfUnverified(
    config,
    { warning: (text: string) => void warnings.push(text) } as unknown as Logger,
  );
  assertEquals(warnings.length, 1);
  assertStringIncludes(warnings[0]!, "secondary");
  const storage = await openStorage(config);
  const registry = new Registry();
  storage.metrics.register(registry);
  const text = await registry.metrics();
  assertStringIncludes(text, 'p4cache_backend_tls_unverified{backend="primary"} 0');
  assertStringIncludes(text, 'p4cache_backend_tls_unverified{backend="secondary"} 1');
  await storage.close();
  await Deno.remove(depot, { recursive: true });
});
