/**
 * Check of the lease: whether this depot's daemon may write to the storage, or could.
 *
 * @module
 */

import type { Status } from "../admin/status.ts";
import { STATE_DIR } from "../depot_path.ts";
import { knownHolder } from "../cluster/holder.ts";
import { leaseStore } from "../cluster/open_lease.ts";
import { describeHolder } from "../cluster/write_right.ts";
import type { Config } from "../config/config.ts";
import { describeError } from "../observe/logging.ts";
import { openBackend } from "../storage/open_backend.ts";
import { fail, type Finding, ok, skip, warn } from "./finding.ts";

const NAME = "lease";

const FAIL_OVER = "docs/how-to/failover.md says what to do";

/** Asks the daemon, or, where none runs, the storage. */
export async function checkLease(
  config: Config,
  depot: string,
  daemon: Status | null,
): Promise<Finding[]> {
  if (config.readOnly) return [];
  if (daemon !== null) return [ofDaemon(daemon, config)];
  if (config.lease === "off") return [skip(NAME, "none is kept (lease is off)")];
  try {
    return [await ofStorage(config, depot)];
  } catch (error) {
    // The check of the storage says what to do.
    return [skip(NAME, `it cannot be read: ${describeError(error)}`)];
  }
}

function ofDaemon({ lease }: Status, config: Config): Finding {
  const other = lease.other === null ? "another daemon" : describeHolder(lease.other);
  switch (lease.state) {
    case "held":
      return ok(NAME, `the daemon holds it (epoch ${lease.epoch})`);
    case "none":
      return config.lease === "off" ? skip(NAME, "none is kept (lease is off)") : warn(
        NAME,
        "the storage refuses to keep one: a second daemon that writes there would not be noticed",
        "let the daemon read and write the objects below .p4cache/ there",
      );
    case "fenced":
      return fail(NAME, `${other} took it: this daemon uploads and evicts nothing`, FAIL_OVER);
    default:
      return warn(
        NAME,
        "the daemon does not hold it at the moment, and uploads and evicts nothing",
        "'p4-cache status' says why",
      );
  }
}

async function ofStorage(config: Config, depot: string): Promise<Finding> {
  const backend = await openBackend(config.primary);
  try {
    const found = await leaseStore(config, backend).read(new AbortController().signal);
    if (found === null || found.record.released) return ok(NAME, `it is free in ${backend.label}`);
    if (found.record.holder === knownHolder(`${depot}/${STATE_DIR}`)) {
      return ok(NAME, "it is this installation's own");
    }
    return warn(
      NAME,
      `${describeHolder(found.record)} holds it, or has crashed: a daemon here may have to wait`,
      FAIL_OVER,
    );
  } finally {
    await backend.close();
  }
}
