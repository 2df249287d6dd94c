/**
 * Whether a provider can copy objects from one configured place to another by itself: the same service,
 * reached with the same credentials.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { BackendConfig } from "../config/config.ts";
import type { CopySource } from "./backend.ts";

/** Settings that say how objects are stored in the other place, or where they are in it. */
const OF_THE_PLACE: ReadonlySet<string> = new Set([
  "bucket",
  "prefix",
  "serverSideEncryption",
  "sseKmsKeyId",
  "kmsKey",
  "storageClass",
  "objectTags",
  "multipartThresholdMib",
  "partSizeMib",
  "partConcurrency",
]);

/** Where the objects of `from` are, for a copy to `to`; null when they have to pass through us. */
export function serverCopy(
  from: BackendConfig,
  to: BackendConfig,
): Omit<CopySource, "info"> | null {
  if (from.type !== "s3" && from.type !== "gcs") return null;
  const service = (config: BackendConfig) =>
    Object.entries(config).filter(([field]) => !OF_THE_PLACE.has(field)).sort();
  if (!isDeepStrictEqual(service(from), service(to))) return null;
  return { bucket: from.bucket, prefix: from.prefix };
}
