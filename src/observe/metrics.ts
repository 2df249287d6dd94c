/**
 * The contract's metrics, and the totals of the stats line.
 *
 * Events are counted in plain numbers; the registry reads them when it is asked, so that an event
 * costs next to nothing.
 *
 * @module
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Values read at the moment of asking. */
export interface GaugeSnapshot {
  readonly dirty: number;
  readonly uploading: number;
  readonly clean: number;
  readonly total: number;
  readonly cacheBytes: number;
  readonly cacheMaxBytes: number;
  readonly uploadPending: number;
  readonly restorePending: number;
  readonly accessEntries: number;
}

/** Counts since the start. */
export interface Totals {
  uploadsOk: number;
  uploadsFailed: number;
  uploadBytes: number;
  restoresOk: number;
  restoresFailed: number;
  restoreBytes: number;
  restoresSecondary: number;
  evictions: number;
  evictionBytes: number;
  shimFetched: number;
  shimNotFound: number;
  watcherWrites: number;
  watcherErrors: number;
  watcherSelfFiltered: number;
  accessEvents: number;
  accessBatches: number;
  accessesDropped: number;
  shimErrors: number;
  watcherOverflows: number;
  checksumMismatches: number;
}

/** Upper bounds, seconds: shim requests from 100 µs, transfers from 1 ms, both up to 300 s. */
const REQUEST_BUCKETS = [
  0.0001,
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  300,
];
/** Bounds for transfers of whole files, which take longer than requests, s. */
export const TRANSFER_BUCKETS = REQUEST_BUCKETS.filter((bound) => bound >= 0.001);

/** See the module's description. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #snapshot: () => GaugeSnapshot;
  readonly #totals: Totals = {
    uploadsOk: 0,
    uploadsFailed: 0,
    uploadBytes: 0,
    restoresOk: 0,
    restoresFailed: 0,
    restoreBytes: 0,
    restoresSecondary: 0,
    evictions: 0,
    evictionBytes: 0,
    shimFetched: 0,
    shimNotFound: 0,
    watcherWrites: 0,
    watcherErrors: 0,
    watcherSelfFiltered: 0,
    accessEvents: 0,
    accessBatches: 0,
    accessesDropped: 0,
    shimErrors: 0,
    watcherOverflows: 0,
    checksumMismatches: 0,
  };
  readonly #uploadSeconds: Histogram;
  readonly #restoreSeconds: Histogram;
  readonly #evictionSeconds: Histogram;
  readonly #shimSeconds: Histogram;
  readonly #accessSeconds: Histogram;

  /** @param labels Constant labels of every metric. */
  constructor(
    labels: { readonly depot: string; readonly mode: "readwrite" | "readonly" },
    snapshot: () => GaugeSnapshot,
  ) {
    this.#snapshot = snapshot;
    this.#registry.setDefaultLabels(labels);
    this.#counters();
    this.#gauges();
    this.#uploadSeconds = this.#histogram(
      "upload_duration_seconds",
      "Time of an upload",
      TRANSFER_BUCKETS,
    );
    this.#restoreSeconds = this.#histogram(
      "restore_duration_seconds",
      "Time of a restore",
      TRANSFER_BUCKETS,
    );
    this.#evictionSeconds = this.#histogram(
      "eviction_batch_duration_seconds",
      "Time of a batch of evictions",
      TRANSFER_BUCKETS,
    );
    this.#shimSeconds = this.#histogram(
      "shim_request_duration_seconds",
      "Time of a shim request",
      REQUEST_BUCKETS,
    );
    this.#accessSeconds = this.#histogram(
      "access_batch_duration_seconds",
      "Time of writing a batch of accesses",
      TRANSFER_BUCKETS,
    );
  }

  /** For metrics that other parts add to the contract's. */
  get registry(): Registry {
    return this.#registry;
  }

  uploadDone(ok: boolean, bytes: number, seconds: number): void {
    if (ok) this.#totals.uploadsOk++;
    else this.#totals.uploadsFailed++;
    this.#totals.uploadBytes += bytes;
    this.#uploadSeconds.observe(seconds);
  }

  restoreDone(ok: boolean, bytes: number, seconds: number, secondary: boolean): void {
    if (ok) this.#totals.restoresOk++;
    else this.#totals.restoresFailed++;
    this.#totals.restoreBytes += bytes;
    if (secondary) this.#totals.restoresSecondary++;
    this.#restoreSeconds.observe(seconds);
  }

  evicted(files: number, bytes: number, batchSeconds: number): void {
    this.#totals.evictions += files;
    this.#totals.evictionBytes += bytes;
    this.#evictionSeconds.observe(batchSeconds);
  }

  shimRequest(result: "fetched" | "not_found" | "error", seconds: number): void {
    if (result === "fetched") this.#totals.shimFetched++;
    if (result === "not_found") this.#totals.shimNotFound++;
    if (result === "error") this.#totals.shimErrors++;
    this.#shimSeconds.observe(seconds);
  }

  watcherEvent(type: "write" | "error" | "self_filtered", count: number): void {
    if (type === "write") this.#totals.watcherWrites += count;
    else if (type === "error") this.#totals.watcherErrors += count;
    else this.#totals.watcherSelfFiltered += count;
  }

  /** The kernel dropped events. */
  watcherOverflow(): void {
    this.#totals.watcherOverflows++;
  }

  /** A fetched object was not what had been uploaded. */
  checksumMismatch(): void {
    this.#totals.checksumMismatches++;
  }

  accessEvents(count: number): void {
    this.#totals.accessEvents += count;
  }

  accessBatch(seconds: number): void {
    this.#totals.accessBatches++;
    this.#accessSeconds.observe(seconds);
  }

  accessesDropped(count: number): void {
    this.#totals.accessesDropped += count;
  }

  /** Adds the series of the storage backends. */
  addBackends(backends: { register(registry: Registry): void }): void {
    backends.register(this.#registry);
  }

  /** Counts since the start. */
  totals(): Readonly<Totals> {
    return this.#totals;
  }

  /** All metrics in Prometheus' text format. */
  async text(): Promise<string> {
    const text = await this.#registry.metrics();
    // The contract's name for a gauge ends like a counter's; promtool refuses that for a gauge, and
    // accepts it for a metric without type. Queries do not see the difference.
    return text.replace("# TYPE p4cache_files_total gauge", "# TYPE p4cache_files_total untyped");
  }

  #counters(): void {
    const t = this.#totals;
    const results = (
      name: string,
      help: string,
      values: () => Record<string, number>,
      label: string,
    ) => {
      new Counter({
        name: `p4cache_${name}`,
        help,
        labelNames: [label],
        registers: [this.#registry],
        collect() {
          this.reset();
          for (const [value, count] of Object.entries(values())) {
            this.inc({ [label]: value }, count);
          }
        },
      });
    };
    const plain = (name: string, help: string, value: () => number) => {
      new Counter({
        name: `p4cache_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    };
    const outcome = (success: number, failure: number) => ({ success, failure });
    results("uploads_total", "Uploads", () => outcome(t.uploadsOk, t.uploadsFailed), "result");
    plain("upload_bytes_total", "Bytes uploaded", () => t.uploadBytes);
    results("restores_total", "Restores", () => outcome(t.restoresOk, t.restoresFailed), "result");
    plain("restore_bytes_total", "Bytes restored", () => t.restoreBytes);
    plain("restores_secondary_total", "Restores from the secondary", () => t.restoresSecondary);
    plain("evictions_total", "Files evicted", () => t.evictions);
    plain("eviction_bytes_total", "Bytes evicted", () => t.evictionBytes);
    results(
      "shim_requests_total",
      "Shim requests",
      () => ({ fetched: t.shimFetched, not_found: t.shimNotFound }),
      "result",
    );
    results(
      "watcher_events_total",
      "Events of the depot's files",
      () => ({
        write: t.watcherWrites,
        error: t.watcherErrors,
        self_filtered: t.watcherSelfFiltered,
      }),
      "type",
    );
    plain("access_events_total", "Accesses reported by the shim", () => t.accessEvents);
    plain("access_batches_total", "Batches written to the access log", () => t.accessBatches);
    plain("access_dropped_total", "Accesses that could not be written", () => t.accessesDropped);
    plain("shim_errors_total", "Shim requests that ended in an error", () => t.shimErrors);
    plain(
      "watcher_overflows_total",
      "Times that the kernel dropped events of the depot's files",
      () => t.watcherOverflows,
    );
    plain(
      "checksum_mismatches_total",
      "Fetched objects that were not what had been uploaded",
      () => t.checksumMismatches,
    );
  }

  #gauges(): void {
    const snapshot = this.#snapshot;
    const gauge = (name: string, help: string, value: (s: GaugeSnapshot) => number) => {
      new Gauge({
        name: `p4cache_${name}`,
        help,
        registers: [this.#registry],
        collect() {
          this.set(value(snapshot()));
        },
      });
    };
    gauge("files_dirty", "Files waiting for upload", (s) => s.dirty);
    gauge("files_uploading", "Files being uploaded", (s) => s.uploading);
    gauge("files_clean", "Files that are in storage too", (s) => s.clean);
    gauge("files_total", "Files in the cache", (s) => s.total);
    gauge("cache_bytes", "Bytes in the cache", (s) => s.cacheBytes);
    gauge("cache_max_bytes", "Most bytes the cache may hold", (s) => s.cacheMaxBytes);
    gauge("upload_queue_pending", "Uploads waiting or running", (s) => s.uploadPending);
    gauge("restore_queue_pending", "Restores waiting or running", (s) => s.restorePending);
    gauge("access_db_entries", "Files in the access log", (s) => s.accessEntries);
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `p4cache_${name}`, help, buckets, registers: [this.#registry] });
  }
}
