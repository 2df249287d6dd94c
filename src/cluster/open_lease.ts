/**
 * The lease as the daemon is configured to keep it.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { getLog } from "../observe/logging.ts";
import type { Backend } from "../storage/backend.ts";
import { readHolder } from "./holder.ts";
import { Lease } from "./lease.ts";
import { LeaseStore } from "./lease_store.ts";
import type { WriteRight } from "./write_right.ts";

/** Share of the time to live that a request may take. */
const TIMEOUT_SHARE = 1 / 6;

/** @param backend The primary, without limits and retries. */
export function leaseStore({ leaseTtlSeconds, primary }: Config, backend: Backend): LeaseStore {
  // A file system renames over a file, but not over one certain version of it (`nfs_backend.ts`).
  const certain = primary.type === "nfs" ? "first" : "all";
  return new LeaseStore(backend, certain, leaseTtlSeconds, leaseTtlSeconds * 1000 * TIMEOUT_SHARE);
}

/**
 * The lease that is to be taken before anything is written; null where there is none to take.
 * @param backend The primary, without limits and retries.
 * @param right What the lease gives and takes; from here on nothing may be written without it.
 * @throws EnvironmentError when the state directory cannot be written.
 */
export function openLease(
  config: Config,
  backend: Backend,
  right: WriteRight,
  stateDir: string,
): Lease | null {
  if (config.readOnly || config.lease === "off") return null;
  right.require(backend.label);
  return new Lease({
    store: leaseStore(config, backend),
    right,
    holder: readHolder(stateDir),
    session: crypto.randomUUID(),
    host: Deno.hostname(),
    pid: Deno.pid,
    ttlSeconds: config.leaseTtlSeconds,
    isRequired: config.lease === "on",
    log: getLog("lease"),
  });
}
