/**
 * What a replica has beside the engine: it keeps copies of archives current; and what a primary tells
 * replicas.
 *
 * @module
 */

import type { ReplicaStatus } from "../admin/status.ts";
import type { Config } from "../config/config.ts";
import { FeedFollower } from "../cluster/feed_follower.ts";
import { FeedPublisher } from "../cluster/feed_publisher.ts";
import { Freshness } from "../cluster/freshness.ts";
import { FreshnessFile, retireFreshness } from "../cluster/freshness_page.ts";
import { Revalidator } from "../cluster/revalidator.ts";
import { StaleCopies } from "../cluster/stale_copies.ts";
import { createRepeatLimiter, describeError, getLog } from "../observe/logging.ts";
import { ReplicaMetrics } from "../observe/replica_metrics.ts";
import type { Backend } from "../storage/backend.ts";
import type { RetryingBackend } from "../storage/retrying.ts";
import type { Engine } from "./engine.ts";

/** Between two rounds of the change feed, ms. */
const FEED_BATCH_MS = 1000;

/** Between two heads of it when nothing changes, ms. */
const FEED_BEAT_MS = 10_000;

/** Failures of the table's file are told this often, ms. */
const REPEAT_MS = 60_000;

/** The table of fresh copies and its file; null on a primary, where nothing goes stale. */
export interface OpenFreshness {
  readonly freshness: Freshness;
  close(): void;
}

/** Opens the table, or tells the preload library that there is none. */
export function openFreshness(config: Config, stateDir: string): OpenFreshness | null {
  if (!config.readOnly) {
    retireFreshness(stateDir);
    return null;
  }
  const log = getLog("replica");
  const limited = createRepeatLimiter(REPEAT_MS);
  const tell = (error: unknown) => {
    const line = limited("Cannot note which copies are current, so each open of one asks");
    if (line !== null) log.error(`${line}: ${describeError(error)}`);
  };
  const file = openPage(stateDir, tell);
  const page = file ?? { write: () => {} };
  const freshness = new Freshness(page, Date.now, config.revalidateAfterSeconds * 1000);
  return { freshness, close: () => file?.close() };
}

/** Null where it cannot be made, on a full disk for example. */
function openPage(stateDir: string, tell: (error: unknown) => void): FreshnessFile | null {
  try {
    return new FreshnessFile(stateDir, tell);
  } catch (error) {
    tell(error);
    return null;
  }
}

/** Parts that run beside the engine; null where the daemon's mode has none. */
export interface Cluster {
  readonly revalidator: Revalidator | null;
  readonly follower: FeedFollower | null;
  readonly publisher: FeedPublisher | null;
  /** Of a replica. */
  readonly status: ReplicaStatus | null;
  stop(): Promise<void>;
}

/**
 * Starts what the daemon's mode has.
 * @param feedBackend Where the change feed is; null: nowhere.
 */
export function startCluster(
  config: Config,
  engine: Engine,
  freshness: Freshness | null,
  backends: readonly RetryingBackend[],
  feedBackend: RetryingBackend | null,
): Cluster {
  const metrics: ReplicaMetrics = new ReplicaMetrics(engine.metrics.registry, () => ({
    isFollowed: follower === null ? null : follower.state === "followed",
    pendingChanges: publisher?.pending ?? null,
  }));
  const revalidator = freshness === null
    ? null
    : newRevalidator(config, engine, freshness, backends, metrics);
  const isFollowing = freshness !== null && config.feedPollIntervalSeconds > 0;
  const follower: FeedFollower | null = isFollowing && feedBackend !== null
    ? newFollower(config, engine, freshness, feedBackend, metrics)
    : null;
  const publisher = !config.readOnly && config.changeFeed && feedBackend !== null
    ? newPublisher(config, feedBackend)
    : null;
  follower?.start();
  publisher?.start();
  return {
    revalidator,
    follower,
    publisher,
    get status() {
      if (revalidator === null) return null;
      return { feed: follower?.state ?? null, revalidating: revalidator.pending };
    },
    stop: async () => {
      await follower?.stop();
      await publisher?.stop();
      await revalidator?.stop();
    },
  };
}

function newRevalidator(
  config: Config,
  engine: Engine,
  freshness: Freshness,
  backends: readonly Backend[],
  metrics: ReplicaMetrics,
): Revalidator {
  return new Revalidator({
    ...engine,
    freshness,
    backends,
    fetch: (path) => engine.restorer.fetch(path),
    log: getLog("replica"),
    nowSeconds: () => Math.floor(Date.now() / 1000),
    after: (ms) => {
      const { promise: done, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, ms);
      return { done, clear: () => clearTimeout(timer) };
    },
    get timeoutMs() {
      return config.revalidateTimeoutSeconds * 1000;
    },
    get servesStale() {
      return config.serveStale;
    },
    onResult: (result) => metrics.revalidated(result),
  });
}

function newFollower(
  config: Config,
  { manifest, evictor }: Engine,
  freshness: Freshness,
  backend: Backend,
  metrics: ReplicaMetrics,
): FeedFollower {
  const log = getLog("feed");
  const listener = new StaleCopies({
    freshness,
    manifest,
    evictOnly: (paths) => evictor.evictOnly(paths),
    onChange: () => metrics.changed(),
    onGap: (why) => {
      metrics.gap();
      log.info(`Every archive is looked at once more when it is opened: ${why}`);
    },
    onError: (error) => log.error(`Cannot drop old copies: ${describeError(error)}`),
  });
  const pollMs = config.feedPollIntervalSeconds * 1000;
  return new FeedFollower({ backend, listener, log, nowMs: Date.now, pollMs });
}

function newPublisher(config: Config, backend: RetryingBackend): FeedPublisher {
  const publisher = new FeedPublisher({
    backend,
    log: getLog("feed"),
    nowMs: () => performance.now(),
    wallMs: Date.now,
    newEpoch: () => `${Date.now()}-${crypto.randomUUID().slice(0, 8)}`,
    batchMs: FEED_BATCH_MS,
    beatMs: FEED_BEAT_MS,
    retentionMs: config.changeFeedRetentionSeconds * 1000,
  });
  backend.onChanged = (path, etag) => publisher.note(path, etag);
  return publisher;
}
