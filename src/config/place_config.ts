/**
 * Where backups are kept: below `.p4cache/backups/` of the primary storage, in another bucket of the
 * same provider, or in a directory.
 *
 * @module
 */

import type { BackendConfig } from "./config.ts";
import { STATE_DIR } from "../depot_path.ts";
import { ConfigError } from "../errors.ts";

/** Below the primary's prefix or directory. */
const UNDER = `${STATE_DIR}/backups`;

/** What a place in a bucket begins with, by storage type. */
const SCHEMES = { "s3:": "s3", "gs:": "gcs", "azure:": "azure" } as const;

/**
 * How the place is reached.
 * @param to `s3://bucket/prefix`, `gs://…`, `azure://container/prefix`, or an absolute directory; null:
 *   the primary storage.
 * @param from The setting that names the place, for messages; none: it was asked for by hand.
 * @throws ConfigError for a place that the primary's settings do not reach.
 */
export function placeConfig(
  primary: BackendConfig,
  to: string | null,
  from?: string,
): BackendConfig {
  if (to === null) {
    if (primary.type === "nfs") return { ...primary, path: `${primary.path}/${UNDER}` };
    if (primary.type === "peer") return primary; // of a replica: it refuses to be written to
    return { ...primary, prefix: joined(primary.prefix, UNDER) };
  }
  if (to.startsWith("/")) return { type: "nfs", path: to.replace(/(.)\/+$/, "$1") };
  const cannot = from === undefined
    ? `Cannot keep backups in '${to}'`
    : `Cannot use ${from} '${to}'`;
  const allowed =
    "allowed is an absolute directory, or s3://bucket/prefix, gs://bucket/prefix or " +
    "azure://container/prefix";
  const url = URL.canParse(to) ? new URL(to) : null;
  const type = url === null ? undefined : SCHEMES[url.protocol as keyof typeof SCHEMES];
  if (url === null || type === undefined || url.hostname === "") {
    throw new ConfigError(`${cannot}: ${allowed}`);
  }
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, "");
  if (primary.type === "azure" && type === "azure") {
    return { ...primary, container: url.hostname, prefix };
  }
  if ((primary.type === "s3" || primary.type === "gcs") && primary.type === type) {
    return { ...primary, bucket: url.hostname, prefix };
  }
  throw new ConfigError(
    `${cannot}: the primary storage is of type ${primary.type}, and its ` +
      `credentials are used; ${allowed}`,
  );
}

function joined(prefix: string, under: string): string {
  return prefix === "" ? under : `${prefix}/${under}`;
}
