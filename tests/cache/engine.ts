/**
 * The engine's parts over a real depot and manifest in a temporary directory, with storage in memory:
 * every moment of an upload or restore can be held and filled with something hostile.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import { Activity } from "../../src/cache/activity.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { DirectoryIdentities } from "../../src/cache/directory_identities.ts";
import { DirectoryRenames } from "../../src/cache/directory_renames.ts";
import { Evictor } from "../../src/cache/evictor.ts";
import { type DeletePolicy, GarbageCollector } from "../../src/cache/garbage.ts";
import { createExclusion } from "../../src/cache/exclusion.ts";
import { Intake } from "../../src/cache/intake.ts";
import { MovedFiles } from "../../src/cache/moved_files.ts";
import { ObjectFetcher } from "../../src/cache/object_fetch.ts";
import { Pins } from "../../src/cache/pins.ts";
import { PowerCut } from "../../src/cache/power_cut.ts";
import { Reserve } from "../../src/cache/reserve.ts";
import { RestoreMarks } from "../../src/cache/restore_marks.ts";
import { Restorer } from "../../src/cache/restorer.ts";
import { Scanner } from "../../src/cache/scanner.ts";
import { StoredBefore } from "../../src/cache/stored_before.ts";
import { UnseenChanges } from "../../src/cache/unseen_changes.ts";
import { Unsettled } from "../../src/cache/unsettled.ts";
import { Uploader } from "../../src/cache/uploader.ts";
import type { Freshness } from "../../src/cluster/freshness.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { isDiskFull, openManifest } from "../../src/manifest/open_manifest.ts";
import type { EvictPolicy } from "../../src/manifest/rank.ts";
import { EngineMetrics } from "../../src/observe/engine_metrics.ts";
import { Health } from "../../src/observe/health.ts";
import { getLog } from "../../src/observe/logging.ts";
import { EventFeed } from "../../src/observe/event_feed.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { RETRY_DEFAULTS, RetryingBackend } from "../../src/storage/retrying.ts";
import { INLINE_WORK } from "../../src/storage/transfer_threads.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

const LOW_WATERMARK_BYTES = 1000;

/** A request whose outcome is unknown can take effect this long, s. */
export const SETTLE_SECONDS = 600;

const NO_GAUGES = {
  dirty: 0,
  uploading: 0,
  clean: 0,
  total: 0,
  cacheBytes: 0,
  cacheMaxBytes: 0,
  uploadPending: 0,
  restorePending: 0,
  accessEntries: 0,
};

/** What tests choose. */
export interface EngineOptions {
  readonly largeConcurrency?: number;
  readonly pollIntervalMs?: number;
  readonly withSecondary?: boolean;
  readonly deletePolicy?: DeletePolicy;
  readonly deleteGraceSeconds?: number;
  readonly minFreeBytes?: number;
  readonly minFreeInodes?: number;
  readonly lowWatermarkBytes?: number;
  readonly evictPolicy?: EvictPolicy;
  /** Of a replica. */
  readonly freshness?: Freshness;
  /** Directory for the depot, on a filesystem of the test's; else a temporary one is made. */
  readonly dir?: string;
}

/** See the module. The watcher is the test: it calls the intake. */
export class Engine {
  readonly dir: string;
  /** Globs that exclude; may be set while it runs. */
  exclude: readonly string[] = [];
  readonly primary = new MemoryBackend();
  readonly secondary = new MemoryBackend();
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity = new Activity();
  readonly metrics: Metrics;
  readonly intake: Intake;
  readonly unseen: UnseenChanges;
  readonly scanner: Scanner;
  readonly uploader: Uploader;
  readonly evictor: Evictor;
  readonly restorer: Restorer;
  readonly marks: RestoreMarks;
  readonly garbage: GarbageCollector;
  readonly identities: DirectoryIdentities;
  readonly renames: DirectoryRenames;
  /** Another one on the same manifest, as the next daemon has it. */
  readonly newRenames: () => DirectoryRenames;
  readonly newIdentities: () => DirectoryIdentities;
  readonly moved: MovedFiles;
  /** Objects that a directory rename copied. */
  copies = 0;
  /** Tests may hold back events here. */
  upToDate: () => Promise<void> = () => this.intake.barrier();
  readonly reserve: Reserve;
  readonly pins: Pins;
  readonly unsettled: Unsettled;
  readonly powerCut: PowerCut;
  /** As the manifest says at the moment; tests make it anew. */
  storedBefore: StoredBefore;
  readonly health = new Health(getLog("daemon"));
  readonly #ownsDir: boolean;
  /** The access log, as far as the engine asks it. */
  readonly loggedAccess = new Map<string, number>();
  /** Whether the lease of the storage is held. */
  mayWrite = true;
  /** Before when every event was taken in, ns since the epoch. */
  toldUntilNs = 0n;
  /** Added to the clock, s. */
  laterSeconds = 0;

  constructor(options: EngineOptions = {}) {
    this.#ownsDir = options.dir === undefined;
    this.dir = options.dir ?? Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "engine" });
    for (const name of ["manifest", "trash", "conflicts", "restore", "restoring"]) {
      Deno.mkdirSync(`${this.dir}/.p4cache/${name}`, { recursive: true });
    }
    try {
      this.files = new DepotFiles(this.dir);
    } catch (error) {
      // The helper library is not built: nobody gets an engine to dispose of.
      if (this.#ownsDir) Deno.removeSync(this.dir, { recursive: true });
      throw error;
    }
    this.reserve = new Reserve(`${this.dir}/.p4cache/manifest/data.mdb`, this.files);
    this.manifest = openManifest(`${this.dir}/.p4cache/manifest`, (path) => path, (error) => {
      if (error === null) this.health.clear("manifest_unwritable");
      else this.health.raise("manifest_unwritable", String(error));
      if (isDiskFull(error)) this.reserve.release();
    }, options.evictPolicy ?? "lru2");
    this.reserve.hold();
    const log = getLog("daemon");
    this.metrics = new Metrics({ depot: this.dir, mode: "readwrite" }, () => NO_GAUGES);
    const engineMetrics = new EngineMetrics(this.metrics.registry, this.health, () => ({
      freeBytes: 0,
      freeInodes: 0,
      dirtyBytes: this.manifest.counters.dirtyBytes,
      oldestDirtySeconds: this.uploader.oldestDirtySeconds,
    }));
    // One attempt: a test sees each call that it makes fail.
    const retry = { ...RETRY_DEFAULTS, attempts: 1, failuresToOpen: 1_000_000 };
    const backend = new RetryingBackend(this.primary, retry);
    backend.onUnknownOutcome = (path) => this.unsettled.note(path);
    const shared = {
      files: this.files,
      sliceWork: INLINE_WORK,
      manifest: this.manifest,
      activity: this.activity,
      isExcluded: (path: string) => createExclusion(this.exclude)(path),
      nowSeconds: () => Math.floor(Date.now() / 1000) + this.laterSeconds,
      backend,
      engineMetrics,
      health: this.health,
      metrics: this.metrics,
      feed: new EventFeed(),
      log,
    };
    this.moved = new MovedFiles(this.manifest);
    this.storedBefore = new StoredBefore(this.manifest);
    this.powerCut = new PowerCut({ files: this.files, manifest: this.manifest, log });
    this.newRenames = () =>
      new DirectoryRenames({
        ...shared,
        moved: this.moved,
        primary: backend,
        secondary: options.withSecondary === true ? this.secondary : null,
        upToDate: () => this.upToDate(),
        whereabouts: (path) => this.identities.whereabouts(path),
        onMoved: (from, to) => this.identities.moved(from, to),
        onDirty: (path) => this.uploader.notice(path),
        onCopied: () => this.copies++,
      });
    this.renames = this.newRenames();
    this.newIdentities = () =>
      new DirectoryIdentities({
        upToDate: () => this.intake.barrier(),
        renamesSeen: () => this.renames.count,
        ...shared,
        onRenamed: (from, to, isStill) => this.intake.renamed(from, to, isStill),
      });
    this.identities = this.newIdentities();
    const moving = { renames: this.renames, moved: this.moved, identities: this.identities };
    this.intake = new Intake({
      ...shared,
      ...moving,
      onDirty: (path) => this.uploader.notice(path),
      onFound: () => this.uploader.found(),
    });
    this.unseen = new UnseenChanges({
      ...shared,
      toldUntilNs: () => this.toldUntilNs,
      restoredSince: null,
      isWatched: true,
      nowMs: () => Date.now() + this.laterSeconds * 1000,
    });
    this.scanner = new Scanner({
      ...shared,
      intake: this.intake,
      unseen: this.unseen,
      onFound: (path, looksKnown) => looksKnown && this.storedBefore.doubt(path),
      mayFindTogether: () => true,
      findRenames: () => this.uploader.hold(this.identities.compare()),
    });
    this.uploader = new Uploader({
      ...shared,
      powerCut: this.powerCut,
      storedBefore: { find: (...file) => this.storedBefore.find(...file) },
      ...moving,
      isBackendDown: () => false,
      upToDate: () => this.upToDate(),
      concurrency: 4,
      maxConcurrency: 4,
      largeConcurrency: options.largeConcurrency ?? 8,
      batchSize: 8,
      pollIntervalMs: options.pollIntervalMs ?? 10,
    });
    this.pins = new Pins(this.manifest);
    this.unsettled = new Unsettled({
      ...shared,
      settleSeconds: SETTLE_SECONDS,
      onLost: (path, size) => this.intake.changed(path, size),
    });
    this.garbage = new GarbageCollector({
      ...shared,
      unsettled: this.unsettled,
      mayWrite: () => this.mayWrite,
      policy: options.deletePolicy ?? "keep",
      graceSeconds: options.deleteGraceSeconds ?? 0,
      isCopying: () =>
        this.renames.pending > 0 || this.moved.size > 0 || this.identities.isComparing,
      onFreed: (path) => this.uploader.notice(path),
      onRemoved: () => {},
    });
    this.evictor = new Evictor({
      ...shared,
      intake: this.intake,
      pins: this.pins,
      unsettled: this.unsettled,
      unseen: this.unseen,
      onDoubtful: (path) => this.storedBefore.doubt(path),
      mayWrite: () => this.mayWrite,
      identities: this.identities,
      reserve: this.reserve,
      lowWatermarkBytes: options.lowWatermarkBytes ?? LOW_WATERMARK_BYTES,
      minFreeBytes: options.minFreeBytes ?? 0,
      minFreeInodes: options.minFreeInodes ?? 0,
      minAgeSeconds: 0,
    });
    this.marks = new RestoreMarks(shared);
    this.restorer = new Restorer({
      ...shared,
      marks: this.marks,
      ...moving,
      upToDate: () => this.upToDate(),
      whereabouts: (path) => this.identities.whereabouts(path),
      primary: backend,
      secondary: options.withSecondary === true ? this.secondary : null,
      readOnly: false,
      fetcher: new ObjectFetcher(this.files, () => 4, INLINE_WORK),
      freshness: options.freshness ?? null,
      mayComeSoon: () => Promise.resolve(false),
      isRoomTaken: () => this.health.isRaised("manifest_unwritable") && !this.reserve.isHeld,
      makeRoom: (bytes) => this.evictor.makeRoom(bytes),
      previousAccess: (path) => this.loggedAccess.get(path) ?? 0,
      onRestored: () => {},
    });
  }

  /** Writes a file, as p4d would, and tells the intake. */
  write(name: string, content: string): void {
    const slash = name.lastIndexOf("/");
    if (slash > 0) Deno.mkdirSync(`${this.dir}/${name.slice(0, slash)}`, { recursive: true });
    Deno.writeTextFileSync(`${this.dir}/${name}`, content);
    this.intake.changed(name as DepotPath, content.length);
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.dir}/${name}`);
  }

  has(name: string): boolean {
    return this.files.stat(name) !== null;
  }

  /** Content of an object, or null. */
  stored(name: string): string | null {
    const object = this.primary.objects.get(name);
    return object === undefined ? null : new TextDecoder().decode(object.bytes);
  }

  /** All metrics, as Prometheus reads them. */
  metricsText(): Promise<string> {
    return this.metrics.text();
  }

  /** Waits until no file is dirty and none is in flight. */
  async settled(): Promise<void> {
    const { counters } = this.manifest;
    while (counters.dirty > 0 || this.uploader.uploading > 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.scanner.stop();
    await this.uploader.stop(0);
    await this.renames.stop();
    await Promise.all([this.evictor.stop(), this.garbage.stop(), this.unsettled.stop()]);
    await this.restorer.stop(0);
    await this.manifest.close();
    await this.marks.stop();
    this.files.close();
    if (this.#ownsDir) Deno.removeSync(this.dir, { recursive: true });
  }
}
