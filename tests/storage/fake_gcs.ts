/**
 * A Google Cloud Storage server for tests: fake-gcs-server, which keeps objects in memory.
 *
 * @module
 */

import type { GcsConfig } from "../../src/config/config.ts";

export const BUCKET = "depot-bucket";

/** The server's binary: FAKE_GCS_BIN, else what the test task has built; null when there is none. */
export function fakeGcsBinary(): string | null {
  const built = new URL("../../build/tools/fake-gcs-server", import.meta.url).pathname;
  for (const path of [Deno.env.get("FAKE_GCS_BIN"), built]) {
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
export interface FakeGcs {
  readonly endpoint: string;
  config(changes?: Partial<GcsConfig>): GcsConfig;
  /** Stores an object as another program would. */
  store(name: string, bytes: Uint8Array<ArrayBuffer>, query?: string): Promise<void>;
  /** The bytes of an object, by its whole name; null where there is none. */
  read(name: string): Promise<Uint8Array | null>;
  /** Names of all objects. */
  names(): Promise<string[]>;
  end(): Promise<void>;
}

/** Starts the server with one empty bucket. */
export async function startFakeGcs(binary: string): Promise<FakeGcs> {
  const port = freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  const server = new Deno.Command(binary, {
    args: ["-scheme", "http", "-backend", "memory", "-log-level", "error"]
      .concat(["-host", "127.0.0.1", "-port", String(port), "-public-host", "127.0.0.1"]),
    stdout: "null",
    stderr: "null",
  }).spawn();
  for (let tries = 0;; tries++) {
    try {
      await (await fetch(`${endpoint}/_internal/healthcheck`)).body?.cancel();
      break;
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  await post(`${endpoint}/storage/v1/b?project=test`, JSON.stringify({ name: BUCKET }));
  const objects = `${endpoint}/storage/v1/b/${BUCKET}/o`;
  return {
    endpoint,
    config: (changes = {}) => gcsConfig(endpoint, changes),
    store: (name, bytes, query = "") => {
      const upload = `${endpoint}/upload/storage/v1/b/${BUCKET}/o?uploadType=media`;
      return post(`${upload}&name=${encodeURIComponent(name)}${query}`, bytes);
    },
    read: async (name) => {
      const answer = await fetch(`${objects}/${encodeURIComponent(name)}?alt=media`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      return answer.ok ? bytes : null;
    },
    names: async () => {
      const { items = [] } = await (await fetch(objects)).json();
      return items.map((item: { name: string }) => item.name);
    },
    end: async () => {
      server.kill("SIGKILL");
      await server.status;
    },
  };
}

async function post(url: string, body: BodyInit): Promise<void> {
  const answer = await fetch(url, { method: "POST", body });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${url}: HTTP ${answer.status} ${text}`);
}

/** Configuration of a server on loopback. */
export function gcsConfig(endpoint: string, changes: Partial<GcsConfig> = {}): GcsConfig {
  return {
    type: "gcs",
    endpoint,
    bucket: BUCKET,
    prefix: "depot",
    projectId: null,
    credentialsFile: null,
    storageClass: null,
    kmsKey: null,
    userProject: null,
    multipartThresholdMib: 8,
    partSizeMib: 8,
    partConcurrency: 4,
    clientCertPath: null,
    clientKeyPath: null,
    idleTimeoutSeconds: 30,
    caCertPath: null,
    verifySsl: true,
    ...changes,
  };
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}
