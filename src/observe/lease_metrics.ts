/**
 * Metrics of the lease that keeps a second daemon from writing to the same storage.
 *
 * @module
 */

import { Counter, Gauge, type Registry } from "prom-client";

/** What they are read from. */
export interface LeaseReadings {
  /** Whether this daemon may write. */
  readonly isHeld: boolean;
  readonly epoch: number;
  readonly renewals: { readonly success: number; readonly failure: number };
}

/** Adds them; the readings are taken at the moment of asking. */
export function addLeaseMetrics(registry: Registry, readings: () => LeaseReadings): void {
  const registers = [registry];
  new Gauge({
    name: "p4cache_lease_held",
    help:
      "1 while this daemon may write to the storage: it holds the lease, or there is none to hold",
    registers,
    collect() {
      this.set(readings().isHeld ? 1 : 0);
    },
  });
  new Gauge({
    name: "p4cache_lease_epoch",
    help: "Raised by each daemon that takes the lease; 0 where this one has not had it",
    registers,
    collect() {
      this.set(readings().epoch);
    },
  });
  new Counter({
    name: "p4cache_lease_renewals_total",
    help: "Renewals of the lease",
    labelNames: ["result"],
    registers,
    collect() {
      const { renewals } = readings();
      this.reset();
      this.inc({ result: "success" }, renewals.success);
      this.inc({ result: "failure" }, renewals.failure);
    },
  });
}
