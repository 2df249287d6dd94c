/**
 * Builds an S3 backend from its configuration: address, credentials, HTTP client.
 *
 * @module
 */

import type { S3Config } from "../../config/config.ts";
import { type Backend, StorageError } from "../backend.ts";
import { S3Backend } from "./s3_backend.ts";
import { credentialSource } from "./s3_credentials.ts";
import { type BucketAddress, type Limits, S3Requests } from "./s3_requests.ts";
import { type Bridge, openUnverifiedBridge } from "./unverified_tls.ts";

const LIMITS: Limits = { idleMs: 30_000, slowestBytesPerSecond: 64 * 1024 };

/** Connections kept for reuse; as many requests as that run at once without connecting anew. */
const IDLE_CONNECTIONS = 256;

/** Less than servers keep idle connections, so that requests seldom meet one that just closed. */
const IDLE_CONNECTION_MS = 15_000;

/**
 * Opens the backend; makes no request yet.
 * @throws StorageError when the CA file cannot be read or the endpoint is no address.
 */
export async function openS3(config: S3Config, limits: Limits = LIMITS): Promise<Backend> {
  const address = bucketAddress(config);
  const options: Deno.CreateHttpClientOptions = {
    poolMaxIdlePerHost: IDLE_CONNECTIONS,
    poolIdleTimeout: IDLE_CONNECTION_MS,
    // One request a connection at a time: a large body never holds up a small one.
    http2: false,
  };
  if (config.caCertPath !== null) options.caCerts = [await readCa(config.caCertPath)];
  let bridge: Bridge | null = null;
  let reached = address;
  if (!config.verifySsl && address.origin.startsWith("https:")) {
    bridge = await openUnverifiedBridge(new URL(address.origin));
    options.proxy = { transport: "unix", path: bridge.socketPath };
    reached = { ...address, origin: address.origin.replace("https:", "http:") };
  }
  const client = Deno.createHttpClient(options);
  const credentials = credentialSource(config, (name) => Deno.env.get(name));
  return new S3Backend(new S3Requests(reached, credentials, client, limits), config, async () => {
    client.close();
    await bridge?.close();
  });
}

/** Path style at an endpoint of one's own, virtual-host style at AWS. */
export function bucketAddress(
  config: Pick<S3Config, "endpoint" | "bucket" | "region">,
): BucketAddress {
  const { endpoint, bucket, region } = config;
  if (endpoint === null) {
    const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
    // The certificate of *.s3.region.amazonaws.com covers no further dot.
    const dotted = bucket.includes(".");
    const host = `${dotted ? "" : bucket + "."}s3.${region}.${domain}`;
    return {
      origin: `https://${host}`,
      host,
      basePath: dotted ? "/" + bucket : "",
      bucket,
      region,
    };
  }
  let url: URL;
  try {
    url = new URL(/^https?:\/\//i.test(endpoint) ? endpoint : `https://${endpoint}`);
  } catch (cause) {
    throw new StorageError(
      "permanent",
      `Cannot use the S3 endpoint "${endpoint}": it is no address; write http(s)://host[:port]`,
      { cause },
    );
  }
  const basePath = url.pathname.replace(/\/+$/, "") + "/" + bucket;
  return { origin: url.origin, host: url.host, basePath, bucket, region };
}

async function readCa(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new StorageError("permanent", `Cannot read the CA certificates ${path}: ${cause}`, {
      cause,
    });
  }
}
