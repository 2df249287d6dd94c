/** The configuration: which source wins, and what becomes of every value. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import fc from "fast-check";
import type { AzureConfig, Config, GcsConfig, S3Config } from "../../src/config/config.ts";
import { type FlagValues, loadConfig } from "../../src/config/load.ts";
import { ConfigError } from "../../src/errors.ts";

const GIB = 1024 ** 3;

interface Given {
  flags?: Record<string, string | true>;
  json?: Record<string, unknown>;
  env?: Record<string, string>;
}

/** Runs with a depot at `<dir>/depot` and a store at `<dir>/store`. */
function inFolder(body: (dir: string) => void): void {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-config-" });
  try {
    Deno.mkdirSync(`${dir}/depot`);
    Deno.mkdirSync(`${dir}/store`);
    body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** Loads a configuration; the depot and a local primary are there unless given otherwise. */
function load(dir: string, { flags = {}, json = {}, env = {} }: Given): Config {
  const file = `${dir}/config.json`;
  const primary = { type: "nfs", path: `${dir}/store` };
  Deno.writeTextFileSync(file, JSON.stringify({ depot_path: `${dir}/depot`, primary, ...json }));
  const typed: FlagValues = new Map([["--config", file], ...Object.entries(flags)]);
  return loadConfig(typed, (name) => env[name]);
}

const s3 = { type: "s3", bucket: "b" };

Deno.test("the contract's defaults hold where nothing is given", () => {
  inFolder((dir) => {
    assertEquals(load(dir, {}), {
      depotPath: `${dir}/depot`,
      readOnly: false,
      lease: "auto",
      leaseTtlSeconds: 60,
      exclude: [],
      skipStartupScan: false,
      reconcileIntervalSeconds: 86_400,
      maxCacheBytes: 100 * GIB,
      lowWatermarkBytes: 80 * GIB,
      evictMinAgeSeconds: 0,
      evictPolicy: "lru2",
      minFreeBytes: 0,
      minFreeInodes: 0,
      scrubIntervalSeconds: 0,
      scrubFilesPerSecond: 20,
      backupSchedule: null,
      backupRetention: 14,
      backupTo: null,
      revalidateAfterSeconds: 30,
      revalidateTimeoutSeconds: 10,
      serveStale: true,
      dirtyWaitSeconds: 2,
      changeFeed: false,
      changeFeedRetentionSeconds: 3600,
      feedPollIntervalSeconds: 2,
      peerListen: null,
      peerCertPath: null,
      peerKeyPath: null,
      peerTokenFile: null,
      peerMaxRequestsPerSecond: 500,
      deletePolicy: "keep",
      deleteGraceSeconds: 604_800,
      uploadThreads: 8,
      uploadConcurrency: 16,
      uploadConcurrencyMax: 512,
      uploadBatchSize: 64,
      uploadPollIntervalMs: 100,
      restoreThreads: 16,
      uploadBandwidth: null,
      downloadBandwidth: null,
      maxRequestsPerSecond: null,
      probe: true,
      daemon: false,
      pidFile: null,
      logFile: null,
      verbose: false,
      logFormat: "text",
      logLevel: null,
      logLevels: null,
      logMaxMib: 0,
      logKeep: 5,
      shutdownTimeoutSeconds: 30,
      socketMode: 0o666,
      warnings: [],
      statsIntervalSeconds: 60,
      metricsFile: null,
      metricsIntervalSeconds: 15,
      httpListen: null,
      httpAllowRemote: false,
      healthDirtyAgeSeconds: 3600,
      healthFailurePercent: 10,
      healthBackendDownSeconds: 300,
      healthDiskFreePercent: 5,
      accessLogEnabled: true,
      accessBatchSize: 10_000,
      accessFlushIntervalSeconds: 5,
      accessSyncIntervalSeconds: 60,
      accessMapsizeGib: 512,
      accessRetentionDays: 0,
      accessDbPath: `${dir}/depot/.p4cache/access`,
      primary: { type: "nfs", path: `${dir}/store` },
      secondary: null,
    });
  });
});

Deno.test("an S3 backend gets the contract's defaults and the depot's base name as prefix", () => {
  inFolder((dir) => {
    assertEquals(load(dir, { json: { primary: s3 } }).primary, {
      type: "s3",
      bucket: "b",
      endpoint: null,
      region: "us-east-1",
      accessKey: null,
      secretKey: null,
      accessKeyFile: null,
      secretKeyFile: null,
      prefix: "depot",
      caCertPath: null,
      verifySsl: true,
      serverSideEncryption: false,
      sseKmsKeyId: null,
      addressingStyle: "auto",
      profile: null,
      storageClass: null,
      objectTags: null,
      requesterPays: false,
      clientCertPath: null,
      clientKeyPath: null,
      idleTimeoutSeconds: 30,
      multipartThresholdMib: 8,
      partSizeMib: 8,
      partConcurrency: 4,
    });
  });
});

Deno.test("flags win over the file, the file over the environment, the environment over defaults", () => {
  inFolder((dir) => {
    const env = { AWS_ACCESS_KEY_ID: "env-id", AWS_SECRET_ACCESS_KEY: "env-secret" };
    const keys = (given: Given) => {
      const { accessKey, secretKey } = load(dir, given).primary as S3Config;
      return [accessKey, secretKey];
    };
    const json = { primary: { ...s3, access_key: "json-id", secret_key: "json-secret" } };
    const flags = { "--primary-access-key": "flag-id", "--primary-secret-key": "flag-secret" };
    assertEquals(keys({ json: { primary: s3 }, env }), ["env-id", "env-secret"]);
    assertEquals(keys({ json, env }), ["json-id", "json-secret"]);
    assertEquals(keys({ json, env, flags }), ["flag-id", "flag-secret"]);
  });
});

Deno.test("keys from the environment are left to the SDK when they need their session token", () => {
  inFolder((dir) => {
    const env = {
      AWS_ACCESS_KEY_ID: "id",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_SESSION_TOKEN: "token",
    };
    const primary = load(dir, { json: { primary: s3 }, env }).primary as S3Config;
    assertEquals([primary.accessKey, primary.secretKey], [null, null]);
  });
});

Deno.test("a size by flag wins over the same size spelled otherwise in the file", () => {
  inFolder((dir) => {
    const json = { max_cache_bytes: 5, low_watermark_bytes: 4 };
    const flags = { "--max-cache-gb": "2.5", "--low-watermark-bytes": "7" };
    const config = load(dir, { json, flags });
    assertEquals([config.maxCacheBytes, config.lowWatermarkBytes], [2.5 * GIB, 7]);
  });
});

Deno.test("the default watermark gives way to a smaller maximum", () => {
  inFolder((dir) => {
    assertEquals(load(dir, { json: { max_cache_bytes: 1000 } }).lowWatermarkBytes, 800);
    assertEquals(load(dir, { json: { max_cache_gb: 90 } }).lowWatermarkBytes, 80 * GIB);
  });
});

Deno.test("switches without value turn on, and the no- ones turn off", () => {
  inFolder((dir) => {
    const flags = {
      "--read-only": true,
      "--no-access-log": true,
      "--primary-no-verify-ssl": true,
      "--primary-sse": true,
    } as const;
    const config = load(dir, { flags, json: { primary: s3 } });
    const primary = config.primary as S3Config;
    assertEquals(
      [config.readOnly, config.accessLogEnabled, primary.verifySsl, primary.serverSideEncryption],
      [true, false, false, true],
    );
  });
});

Deno.test("verify_ssl and server_side_encryption are taken as words or as booleans", () => {
  inFolder((dir) => {
    for (const [verify, sse] of [["false", "true"], [false, true]]) {
      const json = { primary: { ...s3, verify_ssl: verify, server_side_encryption: sse } };
      const primary = load(dir, { json }).primary as S3Config;
      assertEquals([primary.verifySsl, primary.serverSideEncryption], [false, true]);
    }
  });
});

Deno.test("Azure, GCS and a secondary are read from flags alone", () => {
  inFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/account.json`, "{}");
    const flags = new Map<string, string | true>([
      ["--depot-path", `${dir}/depot/`],
      ["--primary-type", "azure"],
      ["--primary-container", "c"],
      ["--primary-account-name", "n"],
      ["--primary-sas-token", "t"],
      ["--primary-prefix", "/a/b/"],
      ["--secondary-type", "gcs"],
      ["--secondary-bucket", "g"],
      ["--secondary-project-id", "p"],
      ["--secondary-credentials-file", `${dir}/account.json`],
      ["--secondary-endpoint", "http://localhost:4443/"],
    ]);
    const config = loadConfig(flags, () => undefined);
    assertEquals(
      config.primary,
      {
        type: "azure",
        endpoint: null,
        container: "c",
        accountName: "n",
        accountKey: null,
        sasToken: "t",
        accountKeyFile: null,
        sasTokenFile: null,
        accessTier: null,
        prefix: "a/b",
        caCertPath: null,
        verifySsl: true,
        clientCertPath: null,
        clientKeyPath: null,
        idleTimeoutSeconds: 30,
        multipartThresholdMib: 8,
        partSizeMib: 8,
        partConcurrency: 4,
      } satisfies AzureConfig,
    );
    assertEquals(
      config.secondary,
      {
        type: "gcs",
        endpoint: "http://localhost:4443",
        bucket: "g",
        projectId: "p",
        credentialsFile: `${dir}/account.json`,
        prefix: "depot",
        caCertPath: null,
        verifySsl: true,
        clientCertPath: null,
        clientKeyPath: null,
        idleTimeoutSeconds: 30,
        storageClass: null,
        kmsKey: null,
        userProject: null,
        multipartThresholdMib: 8,
        partSizeMib: 8,
        partConcurrency: 4,
      } satisfies GcsConfig,
    );
    assertEquals(config.depotPath, `${dir}/depot`);
  });
});

Deno.test("the guide's configuration file is read as it stands", () => {
  inFolder((dir) => {
    const config = load(dir, {
      json: {
        primary: {
          type: "s3",
          endpoint: "https://s3.amazonaws.com",
          bucket: "my-p4-depot",
          region: "us-east-1",
        },
        max_cache_gb: 500,
        low_watermark_gb: 400,
        upload_threads: 8,
        upload_concurrency: 16,
        restore_threads: 16,
        stats_interval: 60,
        metrics_file: "/var/lib/node_exporter/textfile/p4cache.prom",
        metrics_interval: 15,
      },
    });
    assertEquals(config.maxCacheBytes, 500 * GIB);
    assertEquals(config.lowWatermarkBytes, 400 * GIB);
  });
});

Deno.test("every whole number in range is read exactly, from flags as from the file", () => {
  inFolder((dir) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => {
        const sizes = [
          load(dir, { flags: { "--max-cache-bytes": String(bytes) } }).maxCacheBytes,
          load(dir, { json: { max_cache_bytes: bytes } }).maxCacheBytes,
        ];
        assertEquals(sizes, [bytes, bytes]);
      }),
      { numRuns: 50 },
    );
  });
});

Deno.test("no text that is not a plain decimal number is taken for one", () => {
  inFolder((dir) => {
    const text = fc.oneof(
      fc.string(),
      fc.constantFrom("", " 5", "5 ", "1e3", "0x10", "1_000", "+5", "Infinity", "NaN", "٣", "5GB"),
    ).filter((given) => !/^\d+$/.test(given));
    fc.assert(
      fc.property(text, (given) => {
        assertThrows(
          () => load(dir, { flags: { "--upload-threads": given } }),
          ConfigError,
          `Cannot use --upload-threads '${given}'`,
        );
      }),
      { numRuns: 100 },
    );
  });
});

Deno.test("HTTP for other machines has to be allowed by name", () => {
  inFolder((dir) => {
    const json = (http: object) => ({
      json: { primary: { type: "nfs", path: `${dir}/store` }, ...http },
    });
    for (const http_listen of ["127.0.0.1:9180", "[::1]:0", "localhost:80", "unix:/run/p4.sock"]) {
      assertEquals(load(dir, json({ http_listen })).httpListen, http_listen);
    }
    for (const http_listen of ["0.0.0.0:9180", "[::]:9180", "10.0.0.1:80", "depot-host:80"]) {
      assertThrows(() => load(dir, json({ http_listen })), ConfigError, "http_allow_remote");
      load(dir, json({ http_listen, http_allow_remote: true }));
    }
    for (const http_listen of ["9180", "127.0.0.1", "127.0.0.1:99999", "unix:sock", "::1:80"]) {
      assertThrows(() => load(dir, json({ http_listen })), ConfigError, "not such an address");
    }
  });
});

Deno.test("levels of modules are known modules and levels, each once", () => {
  inFolder((dir) => {
    const json = (log_levels: string) => ({
      json: { primary: { type: "nfs", path: `${dir}/store` }, log_levels },
    });
    assertEquals(
      load(dir, json("upload=debug, evict = warning")).logLevels,
      "upload=debug, evict = warning",
    );
    for (const text of ["upload", "upload=loud", "uploads=debug", "upload=info,upload=debug", ""]) {
      assertThrows(() => load(dir, json(text)), ConfigError, "not such levels");
    }
  });
});

Deno.test("a key that is there twice counts as the last one says, with a warning that says where", () => {
  inFolder((dir) => {
    const file = `${dir}/config.json`;
    Deno.writeTextFileSync(
      file,
      `{
  "depot_path": "${dir}/depot", "max_cache_gb": 1, "low_watermark_gb": 1,
  "primary": { "type": "s3", "bucket": "a", "region": "r", "buck\\u0065t": "b" },
  "secondary": { "type": "s3", "bucket": "\\"bucket\\": {" },
  "exclude": ["exclude", "exclude"],
  "max_cache_gb": 2
}`,
    );
    const config = loadConfig(new Map([["--config", file]]), () => undefined);
    assertEquals([config.maxCacheBytes, (config.primary as S3Config).bucket], [2 * GIB, "b"]);
    const rest = "the last one counts; remove the others";
    assertEquals(config.warnings, [
      `${file} has primary.bucket once more at line 3, column 60: ${rest}`,
      `${file} has max_cache_gb once more at line 6, column 3: ${rest}`,
    ]);
  });
});
