/**
 * What must fit together in the settings of an S3 backend.
 *
 * @module
 */

import { ConfigError } from "../errors.ts";
import type { S3Config } from "./config.ts";

/** Objects of these classes cannot be read before somebody restores them, which takes hours. */
const ARCHIVED = ["GLACIER", "DEEP_ARCHIVE"];

/** Parts are whole slices, see `backend.ts`. */
const SLICE_MIB = 8;

/** S3's limits ("Categorizing your storage using tags"). */
const MAX_TAGS = 10, MAX_TAG_NAME = 128, MAX_TAG_VALUE = 256;

/**
 * Checks the backend and puts its tags in the form that S3 takes.
 * @param keysFrom Where an access key was given, for the message; null: only in the environment.
 * @throws ConfigError
 */
export function settleS3(backend: S3Config, role: string, keysFrom: string | null): S3Config {
  if (backend.profile !== null) {
    if (keysFrom !== null) {
      throw new ConfigError(
        `Cannot use ${keysFrom} and ${role}.profile together: give only one`,
      );
    }
    // A profile that was asked for goes before keys that happen to be in the environment.
    backend = { ...backend, accessKey: null, secretKey: null };
  }
  if ((backend.accessKey === null) !== (backend.secretKey === null)) {
    const [has, lacks] = backend.accessKey === null
      ? ["secret_key", "access_key"]
      : ["access_key", "secret_key"];
    throw new ConfigError(
      `Cannot use ${role}.${has} without ${role}.${lacks}: give both, ` +
        "or neither for the SDK's provider chain",
    );
  }
  refuseBucketInEndpoint(backend, role);
  const { storageClass, partSizeMib, objectTags } = backend;
  if (storageClass !== null && ARCHIVED.includes(storageClass.toUpperCase())) {
    throw new ConfigError(
      `Cannot use ${role}.storage_class '${storageClass}': evicted files could not be read again at ` +
        "once; allowed is a class with immediate access, such as GLACIER_IR",
    );
  }
  if (partSizeMib % SLICE_MIB !== 0) {
    throw new ConfigError(
      `Cannot use ${role}.part_size_mb ${partSizeMib}: allowed is a multiple of ${SLICE_MIB}`,
    );
  }
  return objectTags === null ? backend : { ...backend, objectTags: encodeTags(objectTags, role) };
}

/** The bucket is put into each request; twice in it, objects would lie below a folder of its name. */
function refuseBucketInEndpoint({ endpoint, bucket }: S3Config, role: string): void {
  if (endpoint === null) return;
  const { hostname, pathname } = new URL(endpoint);
  const isThere = pathname.endsWith(`/${bucket}`) || hostname.startsWith(`${bucket}.s3.`) ||
    hostname.startsWith(`${bucket}.s3-`);
  if (!isThere) return;
  throw new ConfigError(
    `Cannot use ${role}.endpoint '${endpoint}': it has the bucket in it; allowed is the server alone, ` +
      `such as https://host:9000, and '${bucket}' as ${role}.bucket`,
  );
}

function encodeTags(text: string, role: string): string {
  const tags = text.split("&").map((tag) => {
    const equals = tag.indexOf("=");
    return equals < 0 ? [tag, ""] as const : [tag.slice(0, equals), tag.slice(equals + 1)] as const;
  });
  const names = new Set(tags.map(([name]) => name));
  const fits = tags.length <= MAX_TAGS && names.size === tags.length &&
    tags.every(([name, value]) =>
      name !== "" && name.length <= MAX_TAG_NAME && value.length <= MAX_TAG_VALUE
    );
  if (fits) {
    return tags.map((tag) => tag.map((part) => encodeURIComponent(part)).join("=")).join("&");
  }
  throw new ConfigError(
    `Cannot use ${role}.object_tags '${text}': allowed are up to ${MAX_TAGS} different tags, written ` +
      `name=value&name=value, names of up to ${MAX_TAG_NAME} and values of up to ${MAX_TAG_VALUE} ` +
      "characters",
  );
}
