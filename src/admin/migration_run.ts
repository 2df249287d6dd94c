/**
 * One run of a migration in the daemon: its throttle, and what is remembered of it.
 *
 * @module
 */

import { STATE_DIR } from "../depot_path.ts";
import { bandwidthAt, parseBandwidth } from "../config/bandwidth.ts";
import { serverCopy } from "../storage/server_copy.ts";
import { RateGate } from "../storage/rate_gate.ts";
import { migrate, type MigrationOptions, type MigrationState } from "./migration.ts";
import { placeText, recordMigration } from "./migration_record.ts";
import type { AdminParts } from "./routes.ts";

/** What a run is told. */
export interface MigrationWish extends Omit<MigrationOptions, "pace"> {
  /** As `bandwidth.ts` reads it; null: only the daemon's own limits hold. */
  readonly bandwidth: string | null;
}

/** Runs it; afterwards the doctor knows whether the secondary can be removed. */
export async function* runMigration(
  parts: AdminParts,
  { bandwidth, ...options }: MigrationWish,
  signal: AbortSignal,
): AsyncGenerator<MigrationState, MigrationState, void> {
  const { config, manifest, activity, primary, secondary, renames, uploader } = parts;
  if (secondary === null || config.secondary === null) {
    throw new Error("there is no secondary to copy from; configure the old storage as secondary");
  }
  const limit = bandwidth === null ? null : parseBandwidth(bandwidth);
  if (bandwidth !== null && limit === null) {
    throw new Error(`wrong bandwidth '${bandwidth}'; allowed is a rate such as 50MB`);
  }
  const minute = () => new Date().getHours() * 60 + new Date().getMinutes();
  const gate = new RateGate(() => limit === null ? Infinity : bandwidthAt(limit, minute()));
  const run = migrate(
    {
      manifest,
      activity,
      primary,
      secondary,
      unsettled: parts.unsettled,
      source: serverCopy(config.secondary, config.primary),
      isCopying: () => renames.pending > 0,
      onFreed: (path) => uploader.notice(path),
    },
    { ...options, pace: (bytes) => gate.enter(bytes, false, signal) },
    signal,
  );
  const state = yield* run;
  const isComplete = state.phase === "done" && state.left === 0 && state.failed === 0;
  const stateDir = `${config.depotPath}/${STATE_DIR}`;
  if (isComplete) {
    recordMigration(stateDir, {
      from: placeText(config.secondary),
      to: placeText(config.primary),
      completedAt: new Date().toISOString(),
      objects: state.objects,
    });
  } else if (state.missing > 0) recordMigration(stateDir, null);
  return state;
}
