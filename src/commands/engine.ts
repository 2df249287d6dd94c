/**
 * The cache engine put together: each part gets what it works on, and knows nothing else.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import { Activity } from "../cache/activity.ts";
import type { DepotPath } from "../cache/depot_path.ts";
import { Evictor } from "../cache/evictor.ts";
import { createExclusion } from "../cache/exclusion.ts";
import { Intake } from "../cache/intake.ts";
import { Restorer } from "../cache/restorer.ts";
import { Scanner } from "../cache/scanner.ts";
import { Uploader } from "../cache/uploader.ts";
import type { Config } from "../config/config.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { getLog } from "../observe/logging.ts";
import { type GaugeSnapshot, Metrics } from "../observe/metrics.ts";
import type { Backend } from "../storage/backend.ts";
import type { RetryingBackend } from "../storage/retrying.ts";

/** The parts of the cache engine, in the order of a file's life. */
export interface Engine {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly scanner: Scanner;
  readonly uploader: Uploader;
  readonly restorer: Restorer;
  readonly evictor: Evictor;
  readonly metrics: Metrics;
}

/** Builds the engine; nothing runs yet. */
export function buildEngine(
  config: Config,
  files: DepotFiles,
  manifest: Manifest,
  primary: RetryingBackend,
  secondary: Backend | null,
): Engine {
  const activity = new Activity();
  const isExcluded = createExclusion(config.exclude);
  const nowSeconds = () => Math.floor(Date.now() / 1000);
  const shared = { files, manifest, activity, isExcluded, nowSeconds };
  const metrics: Metrics = new Metrics(
    { depot: config.depotPath, mode: config.readOnly ? "readonly" : "readwrite" },
    () => gauges(config, engine),
  );
  const intake = new Intake({
    ...shared,
    metrics,
    log: getLog("intake"),
    onDirty: (path: DepotPath) => uploader.notice(path),
  });
  const scanner = new Scanner({ ...shared, intake, log: getLog("scan") });
  const uploader = new Uploader({
    ...shared,
    backend: primary,
    isBackendDown: () => primary.isOpen,
    metrics,
    log: getLog("upload"),
    concurrency: config.uploadConcurrency,
    batchSize: config.uploadBatchSize,
    pollIntervalMs: config.uploadPollIntervalMs,
  });
  const evictor = new Evictor({
    ...shared,
    intake,
    metrics,
    log: getLog("evict"),
    lowWatermarkBytes: config.lowWatermarkBytes,
    minAgeSeconds: config.evictMinAgeSeconds,
  });
  const restorer = new Restorer({
    ...shared,
    primary,
    secondary,
    metrics,
    log: getLog("restore"),
    threads: config.restoreThreads,
    makeRoom: (bytes) => evictor.makeRoom(bytes),
    onRestored: () => evictor.notice(),
  });
  const engine = {
    files,
    manifest,
    activity,
    intake,
    scanner,
    uploader,
    restorer,
    evictor,
    metrics,
  };
  return engine;
}

/** What the gauges show now. */
export function gauges(config: Config, { manifest, uploader, restorer }: Engine): GaugeSnapshot {
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
    accessEntries: 0,
  };
}
