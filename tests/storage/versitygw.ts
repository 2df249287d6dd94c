/**
 * A real S3 server for tests: versitygw over a temporary directory.
 *
 * @module
 */

import type { S3Config } from "../../src/config/config.ts";
import { credentialSource } from "../../src/storage/s3/s3_credentials.ts";
import { bucketAddress } from "../../src/storage/s3/s3_open.ts";
import { S3Requests } from "../../src/storage/s3/s3_requests.ts";

const ACCESS_KEY = "testaccess", SECRET_KEY = "testsecret";
export const BUCKET = "depot-bucket";

/** The server's binary: VERSITYGW_BIN, else what the test task has built; null when there is none. */
export function versitygwBinary(): string | null {
  return toolBinary("versitygw", "VERSITYGW_BIN");
}

/** The file that the variable names, else the tool as the test task has built it, else null. */
export function toolBinary(name: string, variable: string): string | null {
  const built = new URL(`../../build/tools/${name}`, import.meta.url).pathname;
  for (const path of [Deno.env.get(variable), built]) {
    if (path === undefined) continue;
    try {
      if (Deno.statSync(path).isFile) return path;
    } catch {
      // Not here.
    }
  }
  return null;
}

/** A running server. */
export interface Server {
  readonly endpoint: string;
  /** Where the buckets are directories. */
  readonly dir: string;
  config(changes?: Partial<S3Config>): S3Config;
  end(): Promise<void>;
}

/** Starts the server with one empty bucket. */
export async function startVersitygw(binary: string): Promise<Server> {
  const dir = await Deno.makeTempDir();
  await Deno.mkdir(`${dir}/${BUCKET}`);
  const port = freePort();
  const server = new Deno.Command(binary, {
    args: ["--port", `127.0.0.1:${port}`, "--quiet", "--keep-alive", "posix", dir],
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
    stdout: "null",
    stderr: "null",
  }).spawn();
  const endpoint = `http://127.0.0.1:${port}`;
  for (let tries = 0;; tries++) {
    try {
      await (await fetch(endpoint)).body?.cancel();
      break;
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return {
    endpoint,
    dir,
    config: (changes = {}) => s3Config(endpoint, changes),
    end: async () => {
      server.kill("SIGTERM");
      await server.status;
      await Deno.remove(dir, { recursive: true });
    },
  };
}

/** Configuration of a server on loopback. */
export function s3Config(endpoint: string, changes: Partial<S3Config> = {}): S3Config {
  return {
    type: "s3",
    endpoint,
    bucket: BUCKET,
    region: "us-east-1",
    accessKey: ACCESS_KEY,
    secretKey: SECRET_KEY,
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
    ...changes,
  };
}

/** Sends single requests to the configured bucket. */
export function requestsTo(config: S3Config): { requests: S3Requests; close(): void } {
  const platform = Deno.createHttpClient({});
  const requests = new S3Requests(
    bucketAddress(config),
    credentialSource(config, () => undefined),
    { platform, direct: null },
    { idleMs: 30_000, slowestBytesPerSecond: 1024 },
  );
  return { requests, close: () => platform.close() };
}

/** A port that nothing listens on. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}
