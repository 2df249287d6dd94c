/**
 * The connections of one backend to its server: certificates, proxy, pool. Proxies come from
 * HTTP_PROXY, HTTPS_PROXY and NO_PROXY, which the runtime reads.
 *
 * @module
 */

import type { S3Config } from "../config/config.ts";
import { StorageError } from "./backend.ts";
import { HttpConnections } from "./http_connections.ts";
import type { HttpTransport } from "./http_exchange.ts";
import { type Bridge, openUnverifiedBridge } from "./unverified_tls.ts";

/** Connections kept for reuse; as many requests as that run at once without connecting anew. */
const IDLE_CONNECTIONS = 256;

/** Less than servers keep idle connections, so that requests seldom meet one that just closed. */
const IDLE_CONNECTION_MS = 15_000;

type ClientCertificate = Pick<S3Config, "clientCertPath" | "clientKeyPath">;

/** An open client. */
export interface BackendClient {
  readonly http: HttpTransport;
  /** What requests are sent to instead of the server's own origin. */
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Opens a client; connects when it is first used.
 * @param origin `http(s)://host[:port]` of the server.
 * @throws StorageError when a file of certificates cannot be read
 */
export async function openHttpClient(
  config: Pick<S3Config, "caCertPath" | "verifySsl"> & Partial<ClientCertificate>,
  origin: string,
): Promise<BackendClient> {
  const options: Deno.CreateHttpClientOptions & Partial<Deno.TlsCertifiedKeyPem> = {
    ...await readClientCertificate(config),
    poolMaxIdlePerHost: IDLE_CONNECTIONS,
    poolIdleTimeout: IDLE_CONNECTION_MS,
    // One request a connection at a time: a large body never holds up a small one.
    http2: false,
  };
  if (config.caCertPath !== null) options.caCerts = [await readPem(config.caCertPath)];
  let bridge: Bridge | null = null;
  let reached = origin;
  if (!config.verifySsl && origin.startsWith("https:")) {
    bridge = await openUnverifiedBridge(new URL(origin));
    options.proxy = { transport: "unix", path: bridge.socketPath };
    reached = origin.replace("https:", "http:");
  }
  const platform = Deno.createHttpClient(options);
  const mayGoDirectly = bridge === null && options.cert === undefined && !hasProxy();
  const direct = mayGoDirectly ? new HttpConnections(new URL(origin), options.caCerts ?? []) : null;
  return {
    http: { platform, direct },
    origin: reached,
    close: async () => {
      direct?.close();
      platform.close();
      await bridge?.close();
    },
  };
}

/** Whether a proxy is named for some server; which ones it is for is the platform's to know. */
function hasProxy(): boolean {
  return ["http_proxy", "https_proxy", "all_proxy"].some((name) =>
    Deno.env.get(name) || Deno.env.get(name.toUpperCase())
  );
}

async function readClientCertificate(
  { clientCertPath, clientKeyPath }: Partial<ClientCertificate>,
): Promise<{ cert: string; key: string } | Record<string, never>> {
  if (!clientCertPath || !clientKeyPath) return {};
  return { cert: await readPem(clientCertPath), key: await readPem(clientKeyPath) };
}

async function readPem(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new StorageError("permanent", `Cannot read the certificate or key ${path}: ${cause}`, {
      cause,
    });
  }
}
