/**
 * The cache engine put together: each part gets what it works on, and knows nothing else. What it
 * needs of the machine (files, watcher, LMDB, storage) is handed in: the simulation has its own.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { DepotFiles } from "../../ffi/files.ts";
import type { AccessLog } from "../access/access_log.ts";
import { openAccessLog } from "../access/open_access_log.ts";
import { Activity } from "../cache/activity.ts";
import type { DepotPath } from "../depot_path.ts";
import { DirectoryIdentities } from "../cache/directory_identities.ts";
import { DirectoryRenames } from "../cache/directory_renames.ts";
import { Evictor } from "../cache/evictor.ts";
import { createLiveExclusion, isNeverStored } from "../cache/exclusion.ts";
import { GarbageCollector } from "../cache/garbage.ts";
import { Intake } from "../cache/intake.ts";
import { MovedFiles } from "../cache/moved_files.ts";
import { Pins } from "../cache/pins.ts";
import { ObjectFetcher } from "../cache/object_fetch.ts";
import { PlatterSync } from "../cache/platter_sync.ts";
import { PowerCut } from "../cache/power_cut.ts";
import { Remover } from "../cache/remover.ts";
import type { Reserve } from "../cache/reserve.ts";
import { RestoreMarks } from "../cache/restore_marks.ts";
import { Restorer } from "../cache/restorer.ts";
import { Scanner } from "../cache/scanner.ts";
import { StoredBefore } from "../cache/stored_before.ts";
import { putBackMoved } from "../cache/trash.ts";
import { UnseenChanges } from "../cache/unseen_changes.ts";
import { SETTLE_SECONDS, Unsettled } from "../cache/unsettled.ts";
import { Uploader } from "../cache/uploader.ts";
import { DirtyWindow } from "../cluster/dirty_window.ts";
import type { Freshness } from "../cluster/freshness.ts";
import type { WriteRight } from "../cluster/write_right.ts";
import type { Config } from "../config/config.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { TrashEntry } from "../manifest/trash_entries.ts";
import { previousOfRestored } from "../manifest/rank.ts";
import { RestoredMark } from "../manifest/restored_mark.ts";
import { BusyDirectories } from "../observe/busy_directories.ts";
import { EngineMetrics, type EngineReadings } from "../observe/engine_metrics.ts";
import { EventFeed } from "../observe/event_feed.ts";
import type { Health } from "../observe/health.ts";
import { describeError, getLog } from "../observe/logging.ts";
import { type GaugeSnapshot, Metrics } from "../observe/metrics.ts";
import type { Backend } from "../storage/backend.ts";
import type { RetryingBackend } from "../storage/retrying.ts";
import type { SliceWork } from "../storage/file_transfer.ts";

/** The parts of the cache engine, in the order of a file's life. */
export interface Engine {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly scanner: Scanner;
  readonly uploader: Uploader;
  readonly fetcher: ObjectFetcher;
  readonly marks: RestoreMarks;
  readonly restorer: Restorer;
  readonly evictor: Evictor;
  readonly garbage: GarbageCollector;
  readonly renames: DirectoryRenames;
  readonly identities: DirectoryIdentities;
  /** Looks for renames that nobody told; then what `recover` left in the trash goes back. */
  readonly findRenames: (left?: ReadonlyMap<string, TrashEntry>) => void;
  readonly pins: Pins;
  readonly unsettled: Unsettled;
  readonly platterSync: PlatterSync;
  readonly remover: Remover;
  readonly restored: RestoredMark;
  readonly sliceWork: SliceWork;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly busy: BusyDirectories;
  readonly health: Health;
  /** Null when it is turned off or cannot be used. */
  readonly accessLog: AccessLog | null;
}

/**
 * Builds the engine; nothing runs yet.
 * @param config Its live settings are read when they are needed (`live.ts`).
 * @param right Whether the primary may be written to; without it nothing is uploaded, removed or evicted.
 * @param sliceWork Closed by the caller.
 * @param freshness Of a replica; null where no copy goes stale.
 */
export function buildEngine(
  config: Config,
  files: DepotFiles,
  manifest: Manifest,
  primary: RetryingBackend,
  secondary: Backend | null,
  health: Health,
  reserve: Pick<Reserve, "hold" | "isHeld" | "neededBytes">,
  right: Pick<WriteRight, "isHeld" | "whenHeld" | "onLost">,
  sliceWork: SliceWork,
  freshness: Freshness | null = null,
): Engine {
  const activity = new Activity();
  const isExcluded = createLiveExclusion(() => config.exclude);
  const nowSeconds = () => Math.floor(Date.now() / 1000);
  const feed = new EventFeed();
  const shared = { files, manifest, activity, isExcluded, nowSeconds, feed, sliceWork };
  const metrics: Metrics = new Metrics(
    { depot: config.depotPath, mode: config.readOnly ? "readonly" : "readwrite" },
    () => gauges(config, engine),
  );
  const accessLog = openAccessLog(config, metrics, nowSeconds);
  const engineMetrics = new EngineMetrics(metrics.registry, health, () => readings(engine));
  const moved = new MovedFiles(manifest);
  const renames: DirectoryRenames = new DirectoryRenames({
    ...shared,
    moved,
    primary,
    secondary,
    log: getLog("rename"),
    upToDate: () => intake.barrier(),
    whereabouts: (path) => identities.whereabouts(path),
    onMoved: (from, to) => identities.moved(from, to),
    onDirty: (path) => uploader.notice(path),
    onCopied: () => engineMetrics.objectCopied(),
  });
  const identities: DirectoryIdentities = new DirectoryIdentities({
    ...shared,
    log: getLog("rename"),
    upToDate: () => intake.barrier(),
    renamesSeen: () => renames.count,
    onRenamed: (from, to, isStill) => intake.renamed(from, to, isStill),
  });
  const findRenames = (left: ReadonlyMap<string, TrashEntry> = new Map()) => {
    const onBack = (path: DepotPath, size: number) => intake.changed(path, size);
    const bringBack = () =>
      putBackMoved(files, manifest, identities, left, getLog("rename"), onBack);
    const compared = identities.compare(left.size === 0 ? null : bringBack);
    uploader.hold(compared);
    compared.catch((error) => {
      getLog("rename").error(`Cannot empty the trash: ${describeError(error)}`);
    });
  };
  const intake: Intake = new Intake({
    ...shared,
    renames,
    moved,
    identities,
    metrics,
    log: getLog("intake"),
    onDirty: (path: DepotPath) => uploader.notice(path),
    onFound: () => uploader.found(),
  });
  const restored = new RestoredMark(manifest);
  const unseen = new UnseenChanges({
    ...shared,
    toldUntilNs: () => intake.toldUntilNs,
    restoredSince: restored.sinceSeconds,
    isWatched: !config.readOnly,
    nowMs: () => Date.now(),
  });
  const storedBefore = new StoredBefore(manifest);
  const scanner = new Scanner({
    ...shared,
    intake,
    unseen,
    onFound: (path, looksKnown) => {
      // An upload that was on its way when the last daemon ended may replace the one that follows.
      if (restored.sinceSeconds !== null) unsettled.note(path);
      if (looksKnown) storedBefore.doubt(path);
    },
    mayFindTogether: () => restored.sinceSeconds === null && config.exclude.length === 0,
    findRenames: () => findRenames(),
    engineMetrics,
    health,
    log: getLog("scan"),
  });
  const uploader = new Uploader({
    ...shared,
    powerCut: new PowerCut({ files, manifest, log: getLog("upload") }),
    storedBefore,
    backend: primary,
    isBackendDown: () => primary.isResting,
    upToDate: () => intake.barrier(),
    renames,
    moved,
    health,
    engineMetrics,
    metrics,
    log: getLog("upload"),
    get concurrency() {
      return config.uploadConcurrency;
    },
    get maxConcurrency() {
      return config.uploadConcurrencyMax;
    },
    get largeConcurrency() {
      return config.uploadThreads;
    },
    get batchSize() {
      return config.uploadBatchSize;
    },
    get pollIntervalMs() {
      return config.uploadPollIntervalMs;
    },
  });
  const mayWrite = () => right.isHeld;
  const waitForRight = () => uploader.hold(right.whenHeld().then(() => uploader.hurry()));
  right.onLost(waitForRight);
  if (!right.isHeld) waitForRight();
  const pins = new Pins(manifest);
  const unsettled = new Unsettled({
    ...shared,
    backend: primary,
    log: getLog("settle"),
    settleSeconds: SETTLE_SECONDS,
    onLost: (path, size) => intake.changed(path, size),
  });
  primary.onThrottled = () => uploader.throttled();
  const platterSync = new PlatterSync({ files, manifest, log: getLog("daemon") });
  primary.onUnknownOutcome = (path) => unsettled.note(path);
  const garbage = new GarbageCollector({
    ...shared,
    unsettled,
    mayWrite,
    backend: primary,
    log: getLog("gc"),
    policy: config.deletePolicy,
    graceSeconds: config.deleteGraceSeconds,
    isCopying: () => renames.pending > 0 || moved.size > 0 || identities.isComparing,
    onFreed: (path) => uploader.notice(path),
    onRemoved: () => engineMetrics.objectRemoved(),
  });
  const evictor = new Evictor({
    ...shared,
    intake,
    pins,
    unsettled,
    unseen,
    onDoubtful: (path) => storedBefore.doubt(path),
    // A file that an old manifest calls clean may not be.
    mayWrite: () => mayWrite() && restored.sinceSeconds === null,
    identities,
    reserve,
    metrics,
    engineMetrics,
    health,
    log: getLog("evict"),
    get lowWatermarkBytes() {
      return config.lowWatermarkBytes;
    },
    get minFreeBytes() {
      return config.minFreeBytes;
    },
    get minFreeInodes() {
      return config.minFreeInodes;
    },
    get minAgeSeconds() {
      return config.evictMinAgeSeconds;
    },
  });
  const fetcher = new ObjectFetcher(files, () => config.restoreThreads, sliceWork);
  const dirtyWindow = new DirtyWindow(
    () => config.readOnly ? config.dirtyWaitSeconds * 1000 : 0,
    () => performance.now(),
    delay,
  );
  const marks = new RestoreMarks({ files, manifest, log: getLog("restore") });
  const restorer = new Restorer({
    ...shared,
    marks,
    primary,
    secondary,
    readOnly: config.readOnly,
    renames,
    upToDate: () => intake.barrier(),
    whereabouts: (path) => identities.whereabouts(path),
    isRoomTaken: () => health.isRaised("manifest_unwritable") && !reserve.isHeld,
    metrics,
    log: getLog("restore"),
    fetcher,
    freshness,
    mayComeSoon: (path, sinceMs) => dirtyWindow.mayComeSoon(path, sinceMs),
    makeRoom: (bytes) => evictor.makeRoom(bytes),
    previousAccess: (path) => previousOfRestored(accessLog?.lastAccess(path) ?? 0, nowSeconds()),
    onRestored: () => evictor.notice(),
  });
  const remover = new Remover({
    ...shared,
    isExcluded: isNeverStored,
    intake,
    renames,
    identities,
    backends: secondary === null ? [primary] : [primary, secondary],
    readOnly: config.readOnly,
  });
  const engine: Engine = {
    files,
    manifest,
    activity,
    intake,
    scanner,
    uploader,
    fetcher,
    marks,
    restorer,
    evictor,
    garbage,
    renames,
    identities,
    findRenames,
    pins,
    unsettled,
    platterSync,
    remover,
    restored,
    sliceWork,
    metrics,
    feed,
    busy: new BusyDirectories(),
    accessLog,
    health,
  };
  return engine;
}

function readings({ files, manifest, uploader }: Engine): EngineReadings {
  const { freeBytes, freeInodes } = files.space();
  const oldestDirtySeconds = uploader.oldestDirtySeconds;
  return { freeBytes, freeInodes, dirtyBytes: manifest.counters.dirtyBytes, oldestDirtySeconds };
}

/** What the gauges show now. */
export function gauges(config: Config, engine: Engine): GaugeSnapshot {
  const { manifest, uploader, restorer, accessLog } = engine;
  const { total, dirty, bytes } = manifest.counters;
  const uploading = uploader.uploading;
  return {
    dirty: Math.max(0, dirty - uploading),
    uploading,
    clean: total - dirty,
    total,
    cacheBytes: bytes,
    cacheMaxBytes: config.maxCacheBytes,
    uploadPending: dirty,
    restorePending: restorer.pending,
    accessEntries: accessLog?.entries ?? 0,
  };
}
