/**
 * Builds an S3 backend from its configuration: address, credentials, HTTP client.
 *
 * @module
 */

import type { S3Config } from "../../config/config.ts";
import { StorageError } from "../backend.ts";
import { openHttpClient } from "../http_client.ts";
import { DEFAULT_LIMITS } from "../http_exchange.ts";
import { S3Backend } from "./s3_backend.ts";
import { credentialSource } from "./s3_credentials.ts";
import { type BucketAddress, S3Requests } from "./s3_requests.ts";

const MIB = 1024 * 1024;

/**
 * Opens the backend; makes no request yet.
 * @throws StorageError when a file of certificates cannot be read or the endpoint is no address.
 */
export async function openS3(config: S3Config, limits = limitsOf(config)): Promise<S3Backend> {
  const address = bucketAddress(config);
  const client = await openHttpClient(config, address.origin);
  const reached = { ...address, origin: client.origin };
  const credentials = credentialSource(config, (name) => Deno.env.get(name));
  const requests = new S3Requests(reached, credentials, client.http, limits, commonHeaders(config));
  const { bucket, prefix, multipartThresholdMib, partSizeMib, partConcurrency } = config;
  const options = {
    bucket,
    prefix,
    storingHeaders: storingHeaders(config),
    keepsChecksums: isAws(new URL(address.origin)),
    wholeBytes: multipartThresholdMib * MIB,
    partBytes: partSizeMib * MIB,
    partsInFlight: partConcurrency,
  };
  return new S3Backend(requests, options, () => client.close());
}

function limitsOf(config: S3Config) {
  return { ...DEFAULT_LIMITS, idleMs: config.idleTimeoutSeconds * 1000 };
}

function commonHeaders({ requesterPays }: S3Config): [string, string][] {
  return requesterPays ? [["x-amz-request-payer", "requester"]] : [];
}

/** What goes with every object that is stored, beside its metadata. */
function storingHeaders(config: S3Config): [string, string][] {
  const headers: [string, string][] = [];
  if (config.sseKmsKeyId !== null) {
    headers.push(["x-amz-server-side-encryption", "aws:kms"]);
    headers.push(["x-amz-server-side-encryption-aws-kms-key-id", config.sseKmsKeyId]);
  } else if (config.serverSideEncryption) {
    headers.push(["x-amz-server-side-encryption", "AES256"]);
  }
  if (config.storageClass !== null) headers.push(["x-amz-storage-class", config.storageClass]);
  if (config.objectTags !== null) headers.push(["x-amz-tagging", config.objectTags]);
  return headers;
}

/**
 * Where the bucket is. `auto` is virtual-host style at AWS and path style elsewhere, where names
 * below the endpoint's seldom resolve.
 */
export function bucketAddress(
  config: Pick<S3Config, "endpoint" | "bucket" | "region" | "addressingStyle">,
): BucketAddress {
  const { endpoint, region } = config;
  if (endpoint === null) {
    const domain = region.startsWith("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
    return addressAt(new URL(`https://s3.${region}.${domain}`), config);
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
  return addressAt(url, config);
}

function addressAt(
  url: URL,
  { bucket, region, addressingStyle: style }: Pick<
    S3Config,
    "bucket" | "region" | "addressingStyle"
  >,
): BucketAddress {
  // The certificate of *.s3.region.amazonaws.com covers no further dot.
  const auto = isAws(url) && !bucket.includes(".");
  const inHost = style === "virtual" || (style === "auto" && auto);
  const host = inHost ? `${bucket}.${url.host}` : url.host;
  const basePath = url.pathname.replace(/\/+$/, "") + (inHost ? "" : "/" + bucket);
  return { origin: `${url.protocol}//${host}`, host, basePath, bucket, region };
}

function isAws(url: URL): boolean {
  return /\.amazonaws\.com(\.cn)?$/.test(url.hostname);
}
