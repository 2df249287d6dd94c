/**
 * `p4-cache doctor`: looks at everything that can be wrong around a daemon, whether one runs or not.
 *
 * @module
 */

import type { Status } from "../admin/status.ts";
import { STATE_DIR } from "../depot_path.ts";
import type { Config } from "../config/config.ts";
import {
  checkCapabilities,
  checkDescriptors,
  checkDisk,
  checkKernel,
  checkNamespace,
} from "./machine_checks.ts";
import { checkWatching, type Machine } from "./machine_checks.ts";
import { fail, type Finding, skip } from "./finding.ts";
import { checkLease } from "./lease_check.ts";
import { checkMigration } from "./migration_check.ts";
import { checkPermissions } from "./permission_checks.ts";
import { checkDaemon, checkShim } from "./process_checks.ts";
import { checkConfig, checkDatabases, checkDepot, checkPutAside } from "./state_checks.ts";
import { checkStorage } from "./storage_checks.ts";

/** What is known before the look. */
export interface Patient {
  readonly depot: string;
  readonly configFile: string | null;
  /** The configuration, or why it cannot be used; null: there is no file. */
  readonly config: Config | string | null;
  /** Null: none was reached; `why` says why. */
  readonly daemon: Status | null;
  readonly why: string;
}

/** Looks at one thing after another, and tells each finding as soon as it is there. */
export async function* examine(patient: Patient): AsyncGenerator<Finding, void, void> {
  const { depot, daemon, configFile } = patient;
  const config = typeof patient.config === "string" ? null : patient.config;
  const machine: Machine = { depot, config, daemon };
  const accessDir = config?.accessDbPath ?? `${depot}/${STATE_DIR}/access`;
  const checks: (() => Promise<Finding[]> | Finding[] | Finding)[] = [
    () => checkConfig(configFile, patient.config),
    () => checkDepot(depot),
    () => checkDaemon(daemon, patient.why),
    () => checkKernel(),
    () => checkCapabilities(machine),
    () => isDirectory(depot) ? checkWatching(machine) : skip("watching", "there is no depot"),
    () => checkNamespace(machine),
    () => isDirectory(depot) ? checkPermissions(machine) : [],
    () => isDirectory(depot) ? checkDisk(machine) : skip("disk", "there is no depot"),
    () => checkDescriptors(machine),
    () => checkDatabases(depot, accessDir, daemon),
    () => checkPutAside(depot),
    () => checkShim(depot),
    () => config === null ? [] : checkStorage(config),
    () => config === null ? [] : checkLease(config, depot, daemon),
    () => config === null ? [] : checkMigration(config),
  ];
  for (const check of checks) {
    try {
      const found = await check();
      yield* Array.isArray(found) ? found : [found];
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      yield fail("doctor", `a check did not end: ${what}`, "please report it");
    }
  }
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false; // the check of the depot says why
  }
}
