/** The probe at start on real servers: what is wrong with the settings is refused with the fix. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { BackendConfig } from "../../src/config/config.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { probeBackend } from "../../src/storage/probe.ts";
import { RetryingBackend } from "../../src/storage/retrying.ts";
import { azuriteMissing, startAzurite } from "./azurite.ts";
import { fakeGcsBinary, startFakeGcs } from "./fake_gcs.ts";

/** Longer than any of these answers takes, ms. */
const TIMEOUT_MS = 30_000;

/** Tries what the configuration opens. */
async function probe(config: BackendConfig, mayWrite: boolean) {
  const backend = new RetryingBackend(await openBackend(config));
  try {
    return await probeBackend(backend, mayWrite, TIMEOUT_MS);
  } finally {
    await backend.close();
  }
}

async function usable(config: BackendConfig, mayWrite: boolean): Promise<void> {
  assertEquals(await probe(config, mayWrite), { kind: "usable" });
}

async function refused(config: BackendConfig, mayWrite: boolean, fix: string): Promise<void> {
  const result = await probe(config, mayWrite);
  assertEquals(result.kind, "refused", JSON.stringify(result));
  if (result.kind === "refused") assertStringIncludes(result.why, fix);
}

const HOUR_MS = 3_600_000;

Deno.test({
  name: `the probe says what to correct for Azure`,
  ignore: azuriteMissing() !== null,
  fn: async () => {
    const emulator = await startAzurite();
    try {
      const sas = (permissions: string, forMs: number) =>
        emulator.config({
          accountKey: null,
          sasToken: emulator.sas(permissions, new Date(Date.now() + forMs)),
        });
      for (const mayWrite of [true, false]) {
        await usable(emulator.config(), mayWrite);
        await refused(emulator.config({ container: "none" }), mayWrite, "create the container");
        await refused(emulator.config({ accountKey: btoa("w".repeat(64)) }), mayWrite, "HTTP 403");
        await refused(sas("rcwdl", -HOUR_MS), mayWrite, "shared access signature");
      }
      await usable(sas("rl", HOUR_MS), false);
      await refused(sas("rl", HOUR_MS), true, "permission");
      assertEquals((await probe(sas("rcwl", HOUR_MS), true)).kind, "keeps");
    } finally {
      await emulator.end();
    }
  },
});

Deno.test({
  name: `the probe says what to correct for Google Cloud Storage`,
  ignore: fakeGcsBinary() === null,
  fn: async () => {
    const server = await startFakeGcs(fakeGcsBinary()!);
    try {
      for (const mayWrite of [true, false]) {
        await usable(server.config(), mayWrite);
        await refused(server.config({ bucket: "none" }), mayWrite, "create the bucket none");
      }
      assertEquals(await server.names(), []);
    } finally {
      await server.end();
    }
  },
});
