/**
 * Microsoft's emulator of Azure Blob Storage for tests: azurite, in memory.
 *
 * @module
 */

import type { AzureConfig } from "../../src/config/config.ts";
import { freePort } from "./versitygw.ts";
import { HmacKey } from "../../src/storage/s3/s3_signer.ts";
import { AzureSigner } from "../../src/storage/azure/azure_signer.ts";

/** The emulator's well-known account; its key is public. */
export const ACCOUNT = "devstoreaccount1";
export const ACCOUNT_KEY =
  "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
export const CONTAINER = "depot-container";

const MAIN = new URL("../../node_modules/azurite/dist/src/blob/main.js", import.meta.url).pathname;

/** Why the emulator cannot run here; null when it can. */
export function azuriteMissing(): string | null {
  for (const path of [MAIN, NODE]) {
    try {
      if (Deno.statSync(path).isFile) continue;
    } catch {
      // Not here.
    }
    return `no ${path}`;
  }
  return null;
}

const NODE = (Deno.env.get("PATH") ?? "").split(":").map((dir) => `${dir}/node`).find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}) ?? "node";

/** A running emulator. */
export interface Emulator {
  readonly endpoint: string;
  config(changes?: Partial<AzureConfig>): AzureConfig;
  /** Sends a request by hand, as another program would. @param path Below the account, URI-encoded. */
  request(
    method: string,
    path: string,
    query?: Record<string, string>,
    headers?: Record<string, string>,
    body?: Uint8Array<ArrayBuffer>,
  ): Promise<Response>;
  /** A shared access signature for the container. @param permissions Letters in Azure's order. */
  sas(permissions: string, end: Date): string;
  end(): Promise<void>;
  /** The same where nothing can be waited for: as the process ends. */
  kill(): void;
}

/**
 * Starts the emulator with one empty container.
 * @param certificates Directory with `leaf.pem` and `leaf.key` to speak TLS with, and so to take
 * tokens of identities, too; null: plain HTTP.
 */
export async function startAzurite(certificates: string | null = null): Promise<Emulator> {
  const port = freePort();
  const dir = await Deno.makeTempDir();
  const flags = [
    "--inMemoryPersistence",
    "--skipApiVersionCheck",
    "--silent",
    "--disableTelemetry",
  ];
  if (certificates !== null) {
    const pem = ["--cert", `${certificates}/leaf.pem`, "--key", `${certificates}/leaf.key`];
    flags.push("--oauth", "basic", ...pem);
  }
  const child = new Deno.Command(NODE, {
    args: [MAIN, ...flags, "--blobHost", "127.0.0.1", "--blobPort", String(port)],
    cwd: dir,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const endpoint = `${certificates === null ? "http" : "https"}://127.0.0.1:${port}`;
  const client = Deno.createHttpClient({
    caCerts: certificates === null ? [] : [await Deno.readTextFile(`${certificates}/ca.pem`)],
  });
  for (let tries = 0;; tries++) {
    try {
      await (await fetch(endpoint, { client })).body?.cancel();
      break;
    } catch (error) {
      if (tries === 600) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const request: Emulator["request"] = (method, path, query = {}, headers = {}, body) =>
    signedRequest(endpoint, client, method, path, query, headers, body);
  const created = await request("PUT", `/${CONTAINER}`, { restype: "container" });
  await created.body?.cancel();
  if (created.status !== 201) throw new Error(`Cannot make the container: ${created.status}`);
  return {
    endpoint,
    config: (changes = {}) => azureConfig(endpoint, changes),
    request,
    sas: containerSas,
    end: async () => {
      client.close();
      child.kill("SIGTERM");
      await child.status;
      await Deno.remove(dir, { recursive: true });
    },
    kill: () => {
      child.kill("SIGKILL");
      Deno.removeSync(dir, { recursive: true });
    },
  };
}

/** Configuration of a server on loopback. */
export function azureConfig(endpoint: string, changes: Partial<AzureConfig> = {}): AzureConfig {
  return {
    type: "azure",
    endpoint,
    container: CONTAINER,
    accountName: ACCOUNT,
    accountKey: ACCOUNT_KEY,
    sasToken: null,
    accountKeyFile: null,
    sasTokenFile: null,
    accessTier: null,
    prefix: "depot",
    caCertPath: null,
    verifySsl: true,
    clientCertPath: null,
    clientKeyPath: null,
    idleTimeoutSeconds: 30,
    multipartThresholdMib: 8,
    partSizeMib: 8,
    partConcurrency: 4,
    ...changes,
  };
}

function signedRequest(
  endpoint: string,
  client: Deno.HttpClient,
  method: string,
  path: string,
  query: Record<string, string>,
  headers: Record<string, string>,
  body: Uint8Array<ArrayBuffer> | undefined,
): Promise<Response> {
  const sent = Object.entries({
    "x-ms-date": new Date().toUTCString(),
    "x-ms-version": "2021-12-02",
    ...headers,
  });
  const full = `/${ACCOUNT}${path}`;
  const authorization = new AzureSigner(ACCOUNT, ACCOUNT_KEY).sign({
    method,
    path: full,
    query,
    headers: sent,
    length: body?.length ?? 0,
  });
  return fetch(`${endpoint}${full}?${new URLSearchParams(query)}`, {
    method,
    headers: [...sent, ["authorization", authorization]],
    body: body ?? null,
    client,
  });
}

/** "Create a service SAS", version 2020-12-06. */
function containerSas(permissions: string, end: Date): string {
  const version = "2020-12-06";
  const expiry = end.toISOString().replace(/\.\d+/, "");
  const resource = `/blob/${ACCOUNT}/${CONTAINER}`;
  const fields = [
    permissions,
    "",
    expiry,
    resource,
    "",
    "",
    "",
    version,
    "c",
    "",
    "",
    "",
    "",
    "",
    "",
    "",
  ];
  const key = new HmacKey(Uint8Array.from(atob(ACCOUNT_KEY), (c) => c.charCodeAt(0)));
  return new URLSearchParams({
    sv: version,
    sr: "c",
    sp: permissions,
    se: expiry,
    sig: key.hash(fields.join("\n")).digest("base64"),
  }).toString();
}
