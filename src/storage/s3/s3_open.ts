/**
 * Builds an S3 backend from its configuration: address, credentials, HTTP client.
 *
 * @module
 */

import type { S3Config } from "../../config/config.ts";
import { type Backend, StorageError } from "../backend.ts";
import { openHttpClient } from "../http_client.ts";
import { DEFAULT_LIMITS, type Limits } from "../http_exchange.ts";
import { S3Backend } from "./s3_backend.ts";
import { credentialSource } from "./s3_credentials.ts";
import { type BucketAddress, S3Requests } from "./s3_requests.ts";

/**
 * Opens the backend; makes no request yet.
 * @throws StorageError when the CA file cannot be read or the endpoint is no address.
 */
export async function openS3(config: S3Config, limits: Limits = DEFAULT_LIMITS): Promise<Backend> {
  const address = bucketAddress(config);
  const client = await openHttpClient(config, address.origin);
  const reached = { ...address, origin: client.origin };
  const credentials = credentialSource(config, (name) => Deno.env.get(name));
  const requests = new S3Requests(reached, credentials, client.http, limits);
  return new S3Backend(requests, config, () => client.close());
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
