/**
 * Metrics of the storage backends: `p4cache_backend_…`, one set of series a backend.
 *
 * @module
 */

import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { StorageErrorKind } from "../storage/backend.ts";
import { type Operation, OPERATIONS } from "../storage/decorated.ts";
import type { BackendRecorder } from "../storage/measured.ts";
import { TRANSFER_BUCKETS } from "./metrics.ts";

/** Series of all backends. */
export class BackendMetrics {
  readonly #seconds = new Histogram({
    name: "p4cache_backend_request_duration_seconds",
    help: "Time of one attempt of a storage operation",
    labelNames: ["backend", "operation"],
    buckets: TRANSFER_BUCKETS,
    registers: [],
  });
  readonly #errors = new Counter({
    name: "p4cache_backend_errors_total",
    help: "Failed attempts by kind; absent and conflict are answers, not faults",
    labelNames: ["backend", "operation", "kind"],
    registers: [],
  });
  readonly #throttles = new Counter({
    name: "p4cache_backend_throttles_total",
    help: "Attempts that the backend asked to make later",
    labelNames: ["backend"],
    registers: [],
  });
  readonly #bytes = new Counter({
    name: "p4cache_backend_bytes_total",
    help: "Bytes of content sent to and received from the backend",
    labelNames: ["backend", "direction"],
    registers: [],
  });
  readonly #inFlight = new Gauge({
    name: "p4cache_backend_in_flight",
    help: "Operations under way",
    labelNames: ["backend"],
    registers: [],
  });
  readonly #unverified = new Gauge({
    name: "p4cache_backend_tls_unverified",
    help: "1 where the server's certificate is not checked",
    labelNames: ["backend"],
    registers: [],
  });
  readonly #circuits = new Map<string, () => boolean>();
  readonly #unreachable: Gauge;

  constructor() {
    const circuits = this.#circuits;
    this.#unreachable = new Gauge({
      name: "p4cache_backend_unreachable",
      help: "1 while the backend was found unreachable and is only probed",
      labelNames: ["backend"],
      registers: [],
      collect() {
        for (const [backend, isOpen] of circuits) this.set({ backend }, isOpen() ? 1 : 0);
      },
    });
  }

  /** Adds the series to those that are told. */
  register(registry: Registry): void {
    for (const metric of [this.#seconds, this.#inFlight, this.#unreachable, this.#unverified]) {
      registry.registerMetric(metric);
    }
    for (const metric of [this.#errors, this.#throttles, this.#bytes]) {
      registry.registerMetric(metric);
    }
  }

  /** Tells whether the backend's circuit is open. */
  watchCircuit(backend: string, isOpen: () => boolean): void {
    this.#circuits.set(backend, isOpen);
  }

  /** Whether anybody can pose as the backend. */
  setUnverified(backend: string, isUnverified: boolean): void {
    this.#unverified.set({ backend }, isUnverified ? 1 : 0);
  }

  /** The recorder of one backend. @param backend Its role. */
  recorder(backend: string): BackendRecorder {
    const inFlight = this.#inFlight.labels(backend);
    const throttles = this.#throttles.labels(backend);
    const sent = this.#bytes.labels(backend, "sent");
    const received = this.#bytes.labels(backend, "received");
    inFlight.set(0);
    for (const counter of [throttles, sent, received]) counter.inc(0);
    const seconds = Object.fromEntries(OPERATIONS.map((operation) => {
      this.#seconds.zero({ backend, operation });
      return [operation, this.#seconds.labels(backend, operation)];
    })) as Record<Operation, Histogram.Internal<"backend" | "operation">>;
    return {
      begun: () => inFlight.inc(),
      ended: (operation: Operation, took: number, failure: StorageErrorKind | null) => {
        inFlight.dec();
        seconds[operation].observe(took);
        if (failure === null) return;
        this.#errors.inc({ backend, operation, kind: failure });
        if (failure === "throttled") throttles.inc();
      },
      sent: (bytes) => sent.inc(bytes),
      received: (bytes) => received.inc(bytes),
    };
  }
}
