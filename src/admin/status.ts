/**
 * What the daemon is doing, as `p4-cache status --json` shows it. Names are a stable promise.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { DirectoryRenames } from "../cache/directory_renames.ts";
import type { Evictor } from "../cache/evictor.ts";
import type { OtherHolder, RightState, WriteRight } from "../cluster/write_right.ts";
import type { FeedState } from "../cluster/feed_follower.ts";
import type { Config } from "../config/config.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { BusyDirectories, BusyDirectory } from "../observe/busy_directories.ts";
import type { EventFeed, FileEvent } from "../observe/event_feed.ts";
import type { ConditionName, Health } from "../observe/health.ts";
import { type HealthState, stateOf } from "../observe/health_watch.ts";
import type { RecentLine } from "../observe/logging.ts";
import type { GaugeSnapshot, Metrics, Totals } from "../observe/metrics.ts";
import type { RateMeter, Rates, Recently } from "../observe/rates.ts";
import type { RetryingBackend } from "../storage/retrying.ts";
import { VERSION } from "../version.ts";

/** Directories and restores that are told. */
const BUSIEST = 10, SLOWEST = 10;

/** A storage as the daemon sees it now. */
export interface StorageStatus {
  readonly label: string;
  /** False while it was found unreachable and is only probed. */
  readonly reachable: boolean;
}

/** One thing that is wrong: the daemon goes on with less. */
export interface DegradedStatus {
  readonly condition: ConditionName;
  readonly reason: string;
  readonly seconds: number;
}

/** How this daemon stands to the lease of its storage. */
export interface LeaseStatus {
  /** `none`: no lease is kept. */
  readonly state: RightState;
  /** 0 where this daemon has not had it. */
  readonly epoch: number;
  /** Another daemon that has it. */
  readonly other: OtherHolder | null;
}

/** Figures of the moment. */
export interface ActivityStatus {
  /** A second, over the last seconds. */
  readonly rates: Rates;
  /** Transfers of the last five minutes. */
  readonly recently: Recently;
  /** Share of opened files that were here, over the last five minutes; null when none was opened. */
  readonly hitRatio: number | null;
  /** Time until nothing is dirty, at the present rate; null when there is no telling. */
  readonly drainSeconds: number | null;
  /** Directories in which most files are opened. */
  readonly busiest: readonly BusyDirectory[];
  /** The slowest restores of those remembered. */
  readonly slowest: readonly FileEvent[];
}

/** How a replica keeps its copies current. */
export interface ReplicaStatus {
  /** How the change feed is; null when it is not looked at. */
  readonly feed: FeedState | null;
  /** Copies that are being compared with the storage. */
  readonly revalidating: number;
}

/** See the module. Ages and times are seconds, sizes bytes. */
export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly depot: string;
  readonly mode: "readwrite" | "readonly";
  readonly uptimeSeconds: number;
  readonly state: HealthState;
  /** How changes of the depot are noticed; null on a replica. */
  readonly watching: string | null;
  readonly storage: { readonly primary: StorageStatus; readonly secondary: StorageStatus | null };
  readonly lease: LeaseStatus;
  /** How copies of archives are kept current; null on a primary. */
  readonly replica: ReplicaStatus | null;
  readonly files: {
    readonly total: number;
    readonly clean: number;
    readonly dirty: number;
    readonly uploading: number;
    readonly restoring: number;
  };
  /** Renames of directories that are not carried out in the storage yet. */
  readonly renamesWaiting: number;
  /** Time since the longest waiting file was written; null when none waits. */
  readonly oldestDirtySeconds: number | null;
  readonly cache: {
    readonly bytes: number;
    readonly lowWatermarkBytes: number;
    readonly maxBytes: number;
  };
  readonly disk: {
    readonly freeBytes: number;
    readonly totalBytes: number;
    readonly freeInodes: number;
    readonly totalInodes: number;
  };
  readonly manifest: {
    readonly usedBytes: number;
    readonly mapBytes: number;
    readonly staleReaders: number;
  };
  /** What is wrong now; empty when all is well. */
  readonly degraded: readonly DegradedStatus[];
  /** Why nothing is evicted by the watermark, where an operator said so. */
  readonly drained: string | null;
  readonly activity: ActivityStatus;
  /** The latest warnings and errors of the log, the oldest first. */
  readonly recent: readonly RecentLine[];
  /** Counts since the start. */
  readonly totals: Readonly<Totals>;
}

/** Parts that the status is read from. */
export interface StatusParts {
  readonly config: Config;
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly evictor: Evictor;
  readonly renames: DirectoryRenames;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly feed: EventFeed;
  readonly busy: BusyDirectories;
  readonly rates: RateMeter;
  readonly recentLines: readonly RecentLine[];
  readonly gauges: () => GaugeSnapshot;
  readonly primary: RetryingBackend;
  readonly secondary: RetryingBackend | null;
  readonly watching: string | null;
  readonly right: Pick<WriteRight, "state" | "other">;
  readonly leaseEpoch: () => number;
  readonly replica: () => ReplicaStatus | null;
  readonly startedMs: number;
}

/** Reads the status. */
export async function readStatus(parts: StatusParts): Promise<Status> {
  const { config, files, manifest, evictor, metrics, health, primary, secondary } = parts;
  const gauges = parts.gauges();
  const [oldest] = await manifest.dirtyAfter("");
  const nowSeconds = Date.now() / 1000;
  return {
    version: VERSION,
    pid: Deno.pid,
    depot: config.depotPath,
    mode: config.readOnly ? "readonly" : "readwrite",
    uptimeSeconds: Math.floor((Date.now() - parts.startedMs) / 1000),
    state: stateOf(health.conditions, config, Date.now()),
    watching: parts.watching,
    storage: {
      primary: storageStatus(primary),
      secondary: secondary === null ? null : storageStatus(secondary),
    },
    lease: leaseStatus(parts),
    replica: parts.replica(),
    files: {
      total: gauges.total,
      clean: gauges.clean,
      dirty: gauges.dirty,
      uploading: gauges.uploading,
      restoring: gauges.restorePending,
    },
    renamesWaiting: parts.renames.pending,
    oldestDirtySeconds: oldest === undefined
      ? null
      : Math.max(0, Math.floor(nowSeconds - oldest.seconds)),
    cache: {
      bytes: gauges.cacheBytes,
      lowWatermarkBytes: config.lowWatermarkBytes,
      maxBytes: config.maxCacheBytes,
    },
    disk: files.space(),
    manifest: manifest.usage(),
    degraded: health.conditions.map(({ name, reason, sinceMs }) => ({
      condition: name,
      reason,
      seconds: Math.floor((Date.now() - sinceMs) / 1000),
    })),
    drained: evictor.heldBecause,
    activity: activityStatus(parts),
    recent: parts.recentLines,
    totals: metrics.totals(),
  };
}

/** What holds up every upload. */
const HOLDING_UPLOADS: readonly ConditionName[] = ["backend_down", "lease_waiting", "fenced"];

/** Time until everything is uploaded, s; null where nobody can say. */
export function drainSeconds(
  { rates, health, manifest }: Pick<StatusParts, "health" | "manifest"> & {
    readonly rates: Pick<RateMeter, "drainSeconds">;
  },
): number | null {
  const { dirty, dirtyBytes } = manifest.counters;
  const isHeldUp = dirty > 0 && HOLDING_UPLOADS.some((name) => health.isRaised(name));
  return isHeldUp ? null : rates.drainSeconds(dirty, dirtyBytes);
}

function activityStatus(parts: StatusParts): ActivityStatus {
  const { rates, busy, feed } = parts;
  return {
    rates: rates.rates(),
    recently: rates.recently(),
    hitRatio: rates.hitRatio(),
    drainSeconds: drainSeconds(parts),
    busiest: busy.top(BUSIEST),
    slowest: feed.slowest("restored", SLOWEST),
  };
}

function leaseStatus({ right, leaseEpoch }: StatusParts): LeaseStatus {
  const { other } = right;
  return {
    state: right.state,
    epoch: leaseEpoch(),
    other: other === null
      ? null
      : { host: other.host, pid: other.pid, started: other.started, epoch: other.epoch },
  };
}

function storageStatus(backend: RetryingBackend): StorageStatus {
  return { label: backend.label, reachable: !backend.isOpen };
}
