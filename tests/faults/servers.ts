/**
 * The real servers that the faults come between, one a kind of backend.
 *
 * @module
 */

import type { BackendConfig } from "../../src/config/config.ts";
import { azuriteMissing, startAzurite } from "../storage/azurite.ts";
import { fakeGcsBinary, startFakeGcs } from "../storage/fake_gcs.ts";
import { BUCKET, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";

/** A running server. */
export interface FaultyServer {
  /** `host:port` it listens on. */
  readonly address: string;
  /** Configuration that reaches it at another address. */
  config(address: string): BackendConfig;
  /** The same as it stands in the daemon's configuration file. */
  document(address: string): Record<string, unknown>;
  /** Identifiers of uploads that were begun and never ended. */
  leftovers(): string[];
  end(): Promise<void>;
}

/** A kind of server. */
export interface FaultyKind {
  readonly name: string;
  /** Why it cannot run here; null when it can. */
  readonly missing: string | null;
  start(): Promise<FaultyServer>;
}

const versitygw = versitygwBinary(), fakeGcs = fakeGcsBinary();

export const KINDS: readonly FaultyKind[] = [
  {
    name: "s3",
    missing: versitygw === null ? "no versitygw" : null,
    start: async () => {
      const server = await startVersitygw(versitygw!);
      return {
        address: new URL(server.endpoint).host,
        config: (address) => server.config({ endpoint: `http://${address}` }),
        document: (address) => {
          const { bucket, accessKey, secretKey } = server.config();
          const endpoint = `http://${address}`;
          return { type: "s3", endpoint, bucket, access_key: accessKey, secret_key: secretKey };
        },
        leftovers: () => multipartUploads(`${server.dir}/${BUCKET}/.sgwtmp/multipart`),
        end: server.end,
      };
    },
  },
  {
    name: "azure",
    missing: azuriteMissing(),
    start: async () => {
      const emulator = await startAzurite();
      return {
        address: new URL(emulator.endpoint).host,
        config: (address) => emulator.config({ endpoint: `http://${address}` }),
        document: (address) => {
          const { container, accountName, accountKey } = emulator.config();
          const account = { account_name: accountName, account_key: accountKey };
          return { type: "azure", endpoint: `http://${address}`, container, ...account };
        },
        // Staged blocks are nothing that anybody can read, and the service drops them by itself.
        leftovers: () => [],
        end: emulator.end,
      };
    },
  },
  {
    name: "gcs",
    missing: fakeGcs === null ? "no fake-gcs-server" : null,
    start: async () => {
      const server = await startFakeGcs(fakeGcs!);
      return {
        address: new URL(server.endpoint).host,
        config: (address) => server.config({ endpoint: `http://${address}` }),
        document: (address) => {
          const { bucket } = server.config();
          return { type: "gcs", endpoint: `http://${address}`, bucket };
        },
        // Sessions of uploads are nothing that anybody can list, and end by themselves.
        leftovers: () => [],
        end: server.end,
      };
    },
  },
];

/** versitygw keeps an upload's parts in a directory named by its id, below one for the key. */
function multipartUploads(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].flatMap((key) =>
      [...Deno.readDirSync(`${dir}/${key.name}`)]
        .filter((entry) => entry.isDirectory).map((entry) => entry.name)
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
