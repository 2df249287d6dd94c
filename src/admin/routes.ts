/**
 * What the control socket offers: one route for each admin command that needs the daemon.
 *
 * @module
 */

import * as v from "valibot";
import type { BackupSchedule } from "../backup/backup_schedule.ts";
import type { Activity } from "../cache/activity.ts";
import { type DepotPath, pathProblem } from "../depot_path.ts";
import type { DirectoryRenames } from "../cache/directory_renames.ts";
import type { GarbageCollector } from "../cache/garbage.ts";
import type { Pins } from "../cache/pins.ts";
import type { Intake } from "../cache/intake.ts";
import type { Restorer } from "../cache/restorer.ts";
import type { Scanner } from "../cache/scanner.ts";
import type { Unsettled } from "../cache/unsettled.ts";
import type { Uploader } from "../cache/uploader.ts";
import type { Freshness } from "../cluster/freshness.ts";
import type { Parameters, Routes } from "../server/control_server.ts";
import type { Backend } from "../storage/backend.ts";
import { collectGarbage } from "./garbage.ts";
import { events } from "./events.ts";
import { evict } from "./evicting.ts";
import { invalidate } from "./invalidating.ts";
import { flush } from "./flush.ts";
import { listFiles, listQueue } from "./listing.ts";
import type { Maintenance } from "./maintenance.ts";
import { listPins, pin, unpin } from "./pinning.ts";
import { runMigration } from "./migration_run.ts";
import { prefetch } from "./prefetch.ts";
import { reupload } from "./reupload.ts";
import { readStatus, type StatusParts } from "./status.ts";
import { verify } from "./verify.ts";

/** What the routes work on. */
export interface AdminParts extends StatusParts {
  readonly activity: Activity;
  readonly uploader: Uploader;
  readonly restorer: Restorer;
  readonly scanner: Scanner;
  readonly intake: Intake;
  readonly garbage: GarbageCollector;
  readonly pins: Pins;
  readonly maintenance: Maintenance;
  readonly backups: BackupSchedule;
  /** Null where no copy goes stale. */
  readonly freshness: Freshness | null;
  readonly renames: DirectoryRenames;
  readonly unsettled: Unsettled;
}

const depotPath = v.pipe(
  v.string(),
  v.check((path) => path === "" || pathProblem(path) === null, "a path must lie in the depot"),
);
const FLUSH = v.object({ timeoutMs: v.nullable(v.pipe(v.number(), v.minValue(0))) });
const DRAIN = v.object({ reason: v.nullable(v.pipe(v.string(), v.minLength(1))) });
const LIST = v.object({ path: depotPath, remote: v.boolean() });
const QUEUE = v.object({ limit: v.pipe(v.number(), v.integer(), v.minValue(1)) });
const GC = v.object({ dryRun: v.boolean() });
const PINS = v.object({ paths: v.array(v.pipe(v.string(), v.minLength(1))) });
const PREFETCH = v.object({ paths: v.array(depotPath) });
const EVICT = v.union([
  v.object({ paths: v.array(depotPath), dryRun: v.boolean() }),
  v.object({ bytes: v.pipe(v.number(), v.integer(), v.minValue(1)), dryRun: v.boolean() }),
]);
const INVALIDATE = v.union([
  v.object({ paths: v.array(depotPath) }),
  v.object({ sinceSeconds: v.pipe(v.number(), v.integer(), v.minValue(0)) }),
]);
const EVENTS = v.object({
  last: v.pipe(v.number(), v.integer(), v.minValue(0)),
  follow: v.boolean(),
});
const BACKUP = v.object({ to: v.nullable(v.string()), compact: v.boolean() });
const REUPLOAD = v.object({ dryRun: v.boolean() });
const MIGRATE = v.object({
  dryRun: v.boolean(),
  atOnce: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(256)),
  readBack: v.boolean(),
  bandwidth: v.nullable(v.string()),
});
const VERIFY = v.object({
  path: depotPath,
  deep: v.boolean(),
  percent: v.pipe(v.number(), v.minValue(0), v.maxValue(100)),
  after: depotPath,
});

/** The routes over the running daemon's parts. */
export function adminRoutes(parts: AdminParts): Routes {
  const { config, files, manifest, activity, restorer, scanner, maintenance, pins } = parts;
  const backend: Backend = parts.primary;
  const readWriteOnly = () => {
    if (config.readOnly) throw new Error("this is a replica: it uploads nothing");
  };
  return {
    status: () => readStatus(parts),
    flush: (parameters, signal) => {
      readWriteOnly();
      return flush(parts, parse(FLUSH, parameters).timeoutMs, signal);
    },
    drain: async (parameters) => {
      maintenance.hold(parse(DRAIN, parameters).reason);
      return await readStatus(parts);
    },
    list: (parameters, signal) => {
      const { path, remote } = parse(LIST, parameters);
      return listFiles(manifest, remote ? backend : null, path, signal);
    },
    queue: (parameters) => listQueue(manifest, activity, parse(QUEUE, parameters).limit),
    prefetch: (parameters, signal) => {
      const atOnce = config.restoreThreads;
      return prefetch(
        { files, restorer, backend, atOnce },
        parse(PREFETCH, parameters).paths as DepotPath[],
        signal,
      );
    },
    gc: (parameters, signal) => {
      readWriteOnly();
      const { dryRun } = parse(GC, parameters);
      return collectGarbage(parts.garbage, config.deletePolicy, dryRun, signal);
    },
    pin: (parameters) => pin(pins, manifest, files, parse(PINS, parameters).paths),
    unpin: (parameters) => unpin(pins, manifest, parse(PINS, parameters).paths),
    pins: () => listPins(pins, manifest),
    evict: (parameters, signal) => {
      const { evictor } = parts;
      if (evictor.heldBecause !== null) {
        throw new Error(`nothing is evicted: ${evictor.heldBecause}; 'p4-cache undrain' ends that`);
      }
      const { dryRun, ...wish } = parse(EVICT, parameters);
      return evict(evictor, manifest, wish, dryRun, signal);
    },
    invalidate: (parameters, signal) => {
      const { evictor, freshness } = parts;
      if (freshness === null) {
        throw new Error(
          "this is a primary: its own files are the valid ones; 'p4-cache evict' takes them from the disk",
        );
      }
      return invalidate(
        { manifest, evictor, freshness },
        parse(INVALIDATE, parameters),
        signal,
      );
    },
    events: (parameters, signal) => {
      const { last, follow } = parse(EVENTS, parameters);
      return events(parts.feed, last, follow, signal);
    },
    verify: (parameters, signal) => {
      const { path, ...options } = parse(VERIFY, parameters);
      const { intake } = parts;
      const pace = () => Promise.resolve();
      return verify(
        { files, manifest, activity, intake, backend },
        path,
        { ...options, after: options.after as DepotPath, pace },
        signal,
      );
    },
    migrate: (parameters, signal) => {
      readWriteOnly();
      return runMigration(parts, parse(MIGRATE, parameters), signal);
    },
    reupload: (parameters, signal) => {
      readWriteOnly();
      return reupload(parts, parse(REUPLOAD, parameters).dryRun, signal);
    },
    backup: (parameters, signal) => {
      readWriteOnly();
      const { to, compact } = parse(BACKUP, parameters);
      return parts.backups.make(to, compact, signal);
    },
    metrics: () => parts.metrics.text(),
    reconcile: () => {
      readWriteOnly();
      scanner.requestReconcile("an operator asked for it");
      return Promise.resolve({});
    },
  };
}

/** @throws Error that names what is wrong with the parameters. */
function parse<Schema extends v.GenericSchema>(
  schema: Schema,
  parameters: Parameters,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, parameters);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new Error(`wrong parameter ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
}
