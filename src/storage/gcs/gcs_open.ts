/**
 * Builds a Google Cloud Storage backend from its configuration: address, credentials, HTTP client.
 *
 * @module
 */

import type { GcsConfig } from "../../config/config.ts";
import { StorageError } from "../backend.ts";
import { openHttpClient } from "../http_client.ts";
import { DEFAULT_LIMITS } from "../http_exchange.ts";
import { GcsBackend } from "./gcs_backend.ts";
import { tokenSource } from "./gcs_credentials.ts";
import { GcsRequests } from "./gcs_requests.ts";

const ENDPOINT = "https://storage.googleapis.com";

/** Longest wait for the answer to one request for a token, ms. */
const TOKEN_TIMEOUT_MS = 30_000;

const MIB = 1024 * 1024;

/**
 * Opens the backend; makes no request yet.
 * @throws StorageError when the CA file cannot be read, or credentials would be sent in the clear.
 */
export async function openGcs(
  config: GcsConfig,
  limits = { ...DEFAULT_LIMITS, idleMs: config.idleTimeoutSeconds * 1000 },
): Promise<GcsBackend> {
  const url = new URL(config.endpoint ?? ENDPOINT);
  if (config.credentialsFile !== null && url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new StorageError(
      "permanent",
      `Cannot use ${url.origin} with a credentials file: its tokens would be sent in the clear; use ` +
        "https",
    );
  }
  const client = await openHttpClient(config, url.origin);
  // Tokens come from Google: neither the endpoint's client certificate nor its bridge is for there.
  const ca = { caCertPath: config.caCertPath, verifySsl: true };
  const tokenClient = await openHttpClient(ca, ENDPOINT);
  const tokens = tokenSource(config, (input, init) =>
    fetch(input, {
      ...init,
      client: tokenClient.http.platform,
      signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
    }));
  const { bucket, prefix, storageClass, kmsKey, userProject } = config;
  const requests = new GcsRequests({
    base: client.origin + url.pathname.replace(/\/+$/, ""),
    bucket,
    client: client.http,
    tokens,
    userProject,
    limits,
  });
  const options = {
    bucket,
    prefix,
    storageClass,
    kmsKey,
    wholeBytes: config.multipartThresholdMib * MIB,
    chunkBytes: config.partSizeMib * MIB,
    chunksInFlight: config.partConcurrency,
  };
  return new GcsBackend(requests, options, async () => {
    await client.close();
    await tokenClient.close();
  });
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}
