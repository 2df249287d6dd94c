/**
 * Divides what the depots under `p4-cache run` share, again and again, by what each of them uses.
 *
 * @module
 */

import type { DepotProcess } from "./run_depot.ts";
import {
  divide,
  grants,
  isHeldUp,
  NO_LIMIT,
  RESOURCES,
  type Shares,
  type Use,
} from "./run_shares.ts";
import type { Report } from "./supervised.ts";

interface Seen {
  readonly pid: number | null;
  readonly atMs: number;
  readonly upBytes: number;
  readonly downBytes: number;
}

/** See the module. */
export class Budgets {
  readonly #total: () => Shares;
  readonly #nowMs: () => number;
  readonly #seen = new Map<DepotProcess, Seen>();

  /** @param total Now; bandwidths may depend on the time of day. */
  constructor(total: () => Shares, nowMs: () => number = () => performance.now()) {
    this.#total = total;
    this.#nowMs = nowMs;
  }

  /** The shares of a depot that begins: what the others leave, until all are divided anew. */
  first(others: Iterable<DepotProcess>): Shares {
    const total = this.#total(), held = Array.from(others, (depot) => depot.held);
    const left = (resource: keyof Shares) => {
      const whole = total[resource];
      if (whole === null) return null;
      const taken = held.reduce((sum, each) => sum + (each[resource] ?? 0), 0);
      return Math.max(0, Math.floor((whole - taken) / 2));
    };
    return { up: left("up"), down: left("down"), memory: left("memory") };
  }

  /** Divides anew among the depots whose daemons run. */
  divide(depots: readonly DepotProcess[]): void {
    const running = depots.filter((depot) => depot.pid !== null);
    const uses = running.map((depot) => this.#use(depot));
    const total = this.#total();
    const shares: Record<keyof Shares, number | null>[] = running.map(() => ({ ...NO_LIMIT }));
    for (const resource of RESOURCES) {
      const whole = total[resource];
      if (whole === null) continue;
      const held = running.map((depot) => depot.held[resource]!);
      const needs = uses.map((use, i) => {
        const { used, isWaiting } = use[resource];
        return { used, isWaiting: isHeldUp({ used, isWaiting }, held[i]!) };
      });
      const given = grants(whole, divide(whole, needs), held);
      for (const [i, share] of given.entries()) shares[i]![resource] = share;
    }
    for (const [i, depot] of running.entries()) depot.share(shares[i]!);
    for (const depot of this.#seen.keys()) if (!depots.includes(depot)) this.#seen.delete(depot);
  }

  #use(depot: DepotProcess): Record<keyof Shares, Use> {
    const { pid, report } = depot;
    const atMs = this.#nowMs();
    const { upBytes, downBytes } = report ?? { upBytes: 0, downBytes: 0 };
    const before = this.#seen.get(depot);
    this.#seen.set(depot, { pid, atMs, upBytes, downBytes });
    // A daemon that was started since begins to count anew.
    const since = before?.pid === pid ? before : { atMs: atMs - 1000, upBytes, downBytes };
    const rate = (now: number, then: number) =>
      Math.max(0, now - then) / Math.max(0.001, (atMs - since.atMs) / 1000);
    return {
      up: use(report, "up", rate(upBytes, since.upBytes)),
      down: use(report, "down", rate(downBytes, since.downBytes)),
      memory: use(report, "memory", report?.memoryBytes ?? 0),
    };
  }
}

function use(report: Report | null, resource: keyof Shares, used: number): Use {
  return { used, isWaiting: report?.isWaiting[resource] ?? false };
}
