/**
 * Which settings take effect while the daemon runs, and what a new configuration changes.
 *
 * The daemon has one `Config` object. Its parts read from it when they need a value; {@link takeOver}
 * alone writes to it.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import type { BackendConfig, Config } from "./config.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import { keyPath, type Role, ROLES } from "./setting.ts";

/** Fields that take effect at once. */
export const LIVE_FIELDS: ReadonlySet<string> = new Set<keyof Config>([
  "exclude",
  "maxCacheBytes",
  "lowWatermarkBytes",
  "evictMinAgeSeconds",
  "minFreeBytes",
  "minFreeInodes",
  "uploadThreads",
  "uploadConcurrency",
  "uploadConcurrencyMax",
  "uploadBatchSize",
  "uploadPollIntervalMs",
  "revalidateTimeoutSeconds",
  "serveStale",
  "dirtyWaitSeconds",
  "restoreThreads",
  "uploadBandwidth",
  "downloadBandwidth",
  "maxRequestsPerSecond",
  "probe",
  "verbose",
  "logFormat",
  "logLevel",
  "logLevels",
  "logMaxMib",
  "logKeep",
  "shutdownTimeoutSeconds",
  "statsIntervalSeconds",
  "metricsFile",
  "metricsIntervalSeconds",
  "scrubIntervalSeconds",
  "scrubFilesPerSecond",
  "backupRetention",
  "backupTo",
  "healthDirtyAgeSeconds",
  "healthFailurePercent",
  "healthBackendDownSeconds",
  "healthDiskFreePercent",
]);

/** Fields of a backend that say where the objects are; all others take effect at once. */
export const PLACE_FIELDS: ReadonlySet<string> = new Set([
  "type",
  "endpoint",
  "bucket",
  "container",
  "region",
  "accountName",
  "projectId",
  "prefix",
  "path",
]);

/** What a new configuration would change; keys as in the JSON file. */
export interface ConfigChanges {
  /** Settings that take effect at once. */
  readonly live: readonly string[];
  /** Settings that wait for a restart. */
  readonly restart: readonly string[];
  /** Backends to be opened anew, with their new settings at their old place. */
  readonly backends: readonly (readonly [Role, BackendConfig])[];
}

/** Compares a new configuration with the one in force. */
export function changesOf(old: Config, next: Config): ConfigChanges {
  const live = new Set<string>(), restart = new Set<string>();
  const seen = new Set<string>();
  for (const { field, key } of DAEMON_SETTINGS) {
    if (seen.has(field) || isDeepStrictEqual(old[field], next[field])) continue;
    seen.add(field);
    (LIVE_FIELDS.has(field) ? live : restart).add(key);
  }
  const backends: [Role, BackendConfig][] = [];
  for (const role of ROLES) {
    const before = old[role], after = next[role];
    if (isDeepStrictEqual(before, after)) continue;
    if (before === null || after === null) {
      restart.add(role);
      continue;
    }
    const changed = changedFields(before, after);
    for (const field of changed) {
      (PLACE_FIELDS.has(field) ? restart : live).add(keyOf(field, role));
    }
    // A new place waits for the restart, and its credentials with it.
    if (changed.some((field) => PLACE_FIELDS.has(field))) {
      for (const field of changed) live.delete(keyOf(field, role));
      for (const field of changed) restart.add(keyOf(field, role));
    } else backends.push([role, after]);
  }
  return { live: [...live], restart: [...restart], backends };
}

/** Puts the live settings of `next` in force; all others stay as they are. */
export function takeOver(config: Config, next: Config, { backends }: ConfigChanges): void {
  const taken = Object.entries(next).filter(([field]) => LIVE_FIELDS.has(field));
  Object.assign(config, Object.fromEntries(taken), Object.fromEntries(backends));
}

function changedFields(before: BackendConfig, after: BackendConfig): string[] {
  const old = new Map<string, unknown>(Object.entries(before));
  const next = new Map<string, unknown>(Object.entries(after));
  const fields = new Set([...old.keys(), ...next.keys()]);
  return [...fields].filter((field) => !isDeepStrictEqual(old.get(field), next.get(field)));
}

function keyOf(field: string, role: Role): string {
  const setting = BACKEND_SETTINGS.find((each) => each.field === field);
  return setting === undefined ? `${role}.${field}` : keyPath(setting, role);
}
