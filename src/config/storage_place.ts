/**
 * Where a backend's objects are, and that two backends are not at the same place.
 *
 * @module
 */

import { ConfigError } from "../errors.ts";
import type { BackendConfig } from "./config.ts";

/**
 * A secondary that is the primary once more: each file that is nowhere would be looked for there twice.
 * @param realPath Where a directory is, links followed.
 * @throws ConfigError
 */
export function refuseSameStorage(
  primary: BackendConfig,
  secondary: BackendConfig | null,
  realPath: (path: string) => string,
): void {
  if (secondary === null) return;
  const place = placeOf(secondary, realPath);
  if (place !== placeOf(primary, realPath)) return;
  throw new ConfigError(
    `Cannot use the secondary storage: it is the primary's place (${place}); take it out, or name ` +
      "another one",
  );
}

/**
 * The settings that say where objects lie, as one text.
 * @param realPath Where a directory is, links followed.
 */
export function placeOf(backend: BackendConfig, realPath: (path: string) => string): string {
  switch (backend.type) {
    case "nfs":
      return `nfs ${realPath(backend.path)}`;
    case "peer":
      return `peer ${backend.endpoint}`;
    case "azure": {
      const { endpoint, accountName, container, prefix } = backend;
      return ["azure", endpoint ?? accountName, `${container}/${prefix}`].join(" ");
    }
    case "s3":
    case "gcs": {
      const { type, endpoint, bucket, prefix } = backend;
      return [type, ...(endpoint === null ? [] : [endpoint]), `${bucket}/${prefix}`].join(" ");
    }
  }
}
