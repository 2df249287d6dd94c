/** Secrets in files of their own. @module */

import { assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import type { AzureConfig, S3Config } from "../../src/config/config.ts";
import { type FlagValues, loadConfig } from "../../src/config/load.ts";
import { configDocument } from "../../src/config/print.ts";
import { SecretFile, secretFileWarning } from "../../src/config/secret_file.ts";
import { ConfigError } from "../../src/errors.ts";

const noEnv = () => undefined;

/** Runs with a temporary directory that has a depot. */
function inFolder(body: (dir: string) => void): void {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-secret-" });
  try {
    Deno.mkdirSync(`${dir}/depot`);
    body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function s3Flags(dir: string, more: Record<string, string>): FlagValues {
  return new Map([
    ["--depot-path", `${dir}/depot`],
    ["--primary-type", "s3"],
    ["--primary-bucket", "b"],
    ...Object.entries(more),
  ]);
}

function refused(run: () => unknown, ...parts: string[]): void {
  const { message } = assertThrows(run, ConfigError);
  for (const part of parts) assertStringIncludes(message, part);
  assertEquals(message.includes("hush"), false, message);
}

Deno.test("every secret can stand in a file, without its last newline", () => {
  inFolder((dir) => {
    for (const name of ["id", "key", "sas"]) Deno.writeTextFileSync(`${dir}/${name}`, ` ${name}\n`);
    const s3 = loadConfig(
      s3Flags(dir, {
        "--primary-access-key-file": `${dir}/id`,
        "--primary-secret-key-file": `${dir}/key`,
      }),
      noEnv,
    ).primary as S3Config;
    assertEquals([s3.accessKey, s3.secretKey], ["id", "key"]);
    assertEquals([s3.accessKeyFile, s3.secretKeyFile], [`${dir}/id`, `${dir}/key`]);
    for (const [key, field] of [["account_key", "accountKey"], ["sas_token", "sasToken"]]) {
      const primary = { type: "azure", container: "c", account_name: "n" };
      const file = `${dir}/config.json`;
      const document = {
        depot_path: `${dir}/depot`,
        primary: { ...primary, [`${key}_file`]: `${dir}/sas` },
      };
      Deno.writeTextFileSync(file, JSON.stringify(document));
      const azure = loadConfig(new Map([["--config", file]]), noEnv).primary as AzureConfig;
      assertEquals(azure[field as "sasToken"], "sas");
      assertEquals(azure[`${field}File` as "sasTokenFile"], `${dir}/sas`);
    }
  });
});

Deno.test("a printed configuration names the files, and loads again", () => {
  inFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/id`, "hush-id");
    Deno.writeTextFileSync(`${dir}/key`, "hush-key");
    const config = loadConfig(
      s3Flags(dir, {
        "--primary-access-key-file": `${dir}/id`,
        "--primary-secret-key-file": `${dir}/key`,
      }),
      noEnv,
    );
    const text = JSON.stringify(configDocument(config));
    assertEquals(text.includes("hush"), false);
    Deno.writeTextFileSync(`${dir}/config.json`, text);
    assertEquals(loadConfig(new Map([["--config", `${dir}/config.json`]]), noEnv), config);
  });
});

Deno.test("systemd's credentials are found in their directory", () => {
  inFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/id`, "id");
    const flags = s3Flags(dir, {
      "--primary-access-key-file": "$CREDENTIALS_DIRECTORY/id",
      "--primary-secret-key": "hush",
    });
    const env = (name: string) => name === "CREDENTIALS_DIRECTORY" ? dir : undefined;
    const { accessKey, accessKeyFile } = loadConfig(flags, env).primary as S3Config;
    assertEquals([accessKey, accessKeyFile], ["id", `${dir}/id`]);
    refused(() => loadConfig(flags, noEnv), "CREDENTIALS_DIRECTORY is not set", "LoadCredential");
  });
});

Deno.test("a secret that is missing, empty, of several lines or given twice is refused, unseen", () => {
  inFolder((dir) => {
    const key = `${dir}/key`;
    const load = (more: Record<string, string> = {}) =>
      loadConfig(
        s3Flags(dir, { "--primary-access-key": "id", "--primary-secret-key-file": key, ...more }),
        noEnv,
      );
    refused(load, key, "--primary-secret-key-file", "does not exist");
    Deno.writeTextFileSync(key, " \n");
    refused(load, key, "empty");
    Deno.writeTextFileSync(key, "hush\nhush\n");
    refused(load, key, "one line");
    Deno.writeTextFileSync(key, "hush\n");
    refused(
      () => load({ "--primary-secret-key": "hush" }),
      "--primary-secret-key and --primary-secret-key-file together",
    );
  });
});

Deno.test("a file's secret wins over the environment's", () => {
  inFolder((dir) => {
    Deno.writeTextFileSync(`${dir}/id`, "file-id");
    Deno.writeTextFileSync(`${dir}/key`, "file-key");
    const flags = s3Flags(dir, {
      "--primary-access-key-file": `${dir}/id`,
      "--primary-secret-key-file": `${dir}/key`,
    });
    const { accessKey, secretKey } = loadConfig(flags, () => "from-env").primary as S3Config;
    assertEquals([accessKey, secretKey], ["file-id", "file-key"]);
  });
});

Deno.test("a secret is read again when its file was replaced, and only then", () => {
  inFolder((dir) => {
    const path = `${dir}/key`;
    Deno.writeTextFileSync(path, "old\n");
    let reads = 0;
    const secret = new SecretFile(path, "primary.secret_key_file", {
      statSync: Deno.statSync,
      readTextFileSync: (name) => (reads++, Deno.readTextFileSync(name)),
    });
    assertEquals([secret.get(), secret.get(), reads], ["old", "old", 1]);
    Deno.writeTextFileSync(`${path}.new`, "new\n");
    Deno.renameSync(`${path}.new`, path);
    assertEquals([secret.get(), secret.get(), reads], ["new", "new", 2]);
    Deno.removeSync(path);
    refused(() => secret.get(), path, "does not exist");
  });
});

Deno.test("a secret that others can read is told; a systemd credential is not", () => {
  inFolder((dir) => {
    const path = `${dir}/key`;
    Deno.writeTextFileSync(path, "hush", { mode: 0o600 });
    assertEquals(secretFileWarning(path, noEnv), null);
    Deno.chmodSync(path, 0o640);
    assertStringIncludes(secretFileWarning(path, noEnv)!, `mode 0640): run chmod 600 ${path}`);
    assertEquals(secretFileWarning(path, () => dir), null);
  });
});
