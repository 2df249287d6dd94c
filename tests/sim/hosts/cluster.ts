/**
 * One simulated cluster: read-write daemons that take turns at one bucket, and twenty replicas, with a
 * network, machines and an operator that do what they should not. A seed decides everything.
 *
 * F1  No two daemons may write at the same time, and no write takes effect once a daemon that took over
 *     may write (but for what a machine that slept sends in the second in which it wakes).
 * F2  No replica uses a copy without a look at the storage when a newer version was known to be stored for
 *     longer than `revalidate_after` (and the time that one round of the change feed takes).
 * F3  When all faults are over, one daemon writes again.
 *
 * @module
 */

import type { DepotPath } from "../../../src/depot_path.ts";
import { LEASE_PATH } from "../../../src/cluster/lease_record.ts";
import { Violation } from "../promises.ts";
import { Random } from "../random.ts";
import { Scheduler } from "../world/scheduler.ts";
import { Host } from "./host.ts";
import { Primary, TTL_SECONDS } from "./primary.ts";
import { PERIOD_MS, Replica } from "./replica.ts";
import { SharedBucket, type StoredVersion } from "./shared_bucket.ts";

const REPLICAS = 20;

const PATHS = ["a,v", "b,v", "d/a,v", "d/b,v"] as DepotPath[];

/** Of the lease, ms; the part of it that is left for requests that the storage has whole. */
const TTL_MS = TTL_SECONDS * 1000, LATE_MS = TTL_MS / 4 - 1000;

/** What one round of the feed takes at most, ms: two puts, each with its way there and back. */
const ROUND_MS = 3000;

/** Time in which a machine that wakes has found that its lease is over, ms. */
const AWAKE_MS = 1100;

/** Time in which a calm cluster has a writer again, ms. */
const REST_MS = 4 * TTL_MS;

/** Between two faults, ms, on average. */
const FAULT_MS = 30_000;

/** What a run was, for people. */
export interface ClusterResult {
  readonly steps: number;
  readonly writes: number;
  readonly served: number;
  readonly faults: number;
  /** How often another daemon than before began to write. */
  readonly failovers: number;
  readonly violation: Violation | null;
  readonly trace: readonly string[];
}

/** Runs one cluster. @param minutes Simulated time with faults. */
export async function runCluster(seed: number, minutes: number): Promise<ClusterResult> {
  const cluster = new Cluster(seed);
  try {
    return await cluster.run(minutes);
  } finally {
    cluster.close();
  }
}

class Cluster {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #bucket: SharedBucket;
  readonly #primaries: Primary[] = [];
  readonly #replicas: Host[] = [];
  /** When each daemon began to write, in order. */
  readonly #turns: { readonly primary: Primary; readonly atMs: number }[] = [];
  /** Of each path, the versions that a daemon knows to be stored: number, and since when. */
  readonly #acknowledged = new Map<string, { number: number; atMs: number }[]>();
  readonly #total = { steps: 0, writes: 0, served: 0, faults: 0 };
  #violation: Violation | null = null;
  #sessions = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#scheduler = new Scheduler(this.#random);
    this.#bucket = new SharedBucket(this.#scheduler, this.#random, LATE_MS);
    this.#bucket.failureIn = this.#random.pick([0, 50, 15]);
    this.#bucket.onStored = (host, path, sentMs) => this.#stored(host, path, sentMs);
  }

  async run(minutes: number): Promise<ClusterResult> {
    for (let i = 0; i < REPLICAS; i++) this.#addReplica(`replica${i}`);
    this.#addPrimary("depot0", false);
    const endMs = this.#scheduler.nowMs + minutes * 60_000;
    let faultMs = this.#nextFault();
    while (this.#violation === null && this.#scheduler.nowMs < endMs) {
      if (this.#scheduler.nowMs >= faultMs) {
        this.#fault();
        faultMs = this.#nextFault();
      }
      await this.#step();
    }
    if (this.#violation === null) await this.#rest();
    const failovers = this.#turns.length - 1;
    const { trace } = this.#scheduler;
    return { ...this.#total, failovers, violation: this.#violation, trace };
  }

  close(): void {
    this.#scheduler.close();
  }

  async #step(): Promise<void> {
    this.#total.steps++;
    this.#scheduler.touch();
    await this.#scheduler.step();
    this.#look();
  }

  #note(line: string): void {
    this.#scheduler.note(line);
  }

  #broken(promise: string, what: string): void {
    this.#violation ??= new Violation(promise, what);
  }

  #addPrimary(holder: string, takeOver: boolean): void {
    const session = `s${++this.#sessions}`;
    const host = this.#newHost(`${holder}.${session}`);
    const primary = new Primary({
      ...{ host, holder, session, takeOver, bucket: this.#bucket, random: this.#random },
      paths: PATHS,
      onAcknowledged: (path, etag) => this.#known(path, Number(etag.slice(1, -1))),
    });
    this.#primaries.push(primary);
    primary.start();
    this.#note(`${host.name}: starts${takeOver ? " with --take-over" : ""}`);
  }

  #addReplica(name: string): void {
    const host = this.#newHost(name);
    this.#replicas.push(host);
    new Replica({
      ...{ host, bucket: this.#bucket, random: this.#random, paths: PATHS },
      onServed: (replica, path, copy) => this.#served(replica, path, copy),
    }).start();
  }

  #newHost(name: string): Host {
    return new Host(this.#scheduler, name, this.#random.below(1_000_000));
  }

  // ---- what goes wrong ----

  #nextFault(): number {
    return this.#scheduler.nowMs + this.#random.fraction() * 2 * FAULT_MS;
  }

  #fault(): void {
    const random = this.#random;
    const living = this.#primaries.filter(({ isOver }) => !isOver);
    this.#total.faults++;
    if (living.length === 0) return this.#addPrimary(this.#idleHolder(), random.oneIn(2));
    const primary = random.pick(living);
    if (random.oneIn(3)) return this.#cutReplicas();
    const { host } = primary;
    const ms = random.fraction() * random.pick([5000, TTL_MS, 3 * TTL_MS]);
    random.pick([
      () => this.#crash(primary),
      () => this.#cut(host, ms),
      () => this.#cut(host, ms),
      () => {
        this.#note(`${host.name}: sleeps for ${ms | 0} ms`);
        host.sleep(ms);
      },
      () => this.#addPrimary(this.#idleHolder(), true),
      () => this.#addPrimary(this.#idleHolder(), false),
      () => {
        this.#note(`${primary.host.name}: stops`);
        void primary.stop();
      },
    ])();
  }

  /** An installation whose daemon is gone: two of one cannot run. */
  #idleHolder(): string {
    const running = this.#primaries.filter(({ host }) => host.isAlive)
      .map(({ host }) => host.name.split(".")[0]);
    const holders = Array.from({ length: running.length + 2 }, (_, i) => `depot${i}`);
    return this.#random.pick(holders.filter((holder) => !running.includes(holder)));
  }

  /** Several of them, often longer than records of the feed are kept. */
  #cutReplicas(): void {
    const ms = this.#random.fraction() * 2 * TTL_MS;
    for (const host of this.#replicas) if (this.#random.oneIn(3)) this.#cut(host, ms);
  }

  /** Its installation starts again, or another one. */
  #crash(primary: Primary): void {
    this.#note(`${primary.host.name}: crashes`);
    primary.host.crash();
    const [holder] = primary.host.name.split(".");
    if (this.#random.oneIn(2)) this.#addPrimary(holder!, false);
  }

  #cut(host: Host, ms: number): void {
    this.#note(`${host.name}: cut off for ${ms | 0} ms`);
    host.isCut = true;
    this.#scheduler.setTimer(() => host.isCut = false, ms, false);
  }

  async #rest(): Promise<void> {
    this.#bucket.failureIn = 0;
    for (const { host } of this.#primaries) host.isCut = false;
    for (const host of this.#replicas) host.isCut = false;
    this.#note("world: calm");
    const endMs = this.#scheduler.nowMs + REST_MS;
    const { writes } = this.#total;
    while (this.#violation === null && this.#scheduler.nowMs < endMs) {
      if (this.#primaries.every(({ isOver }) => isOver)) this.#addPrimary(this.#idleHolder(), true);
      await this.#step();
    }
    if (this.#total.writes === writes) this.#broken("F3", "nobody writes");
  }

  // ---- promises ----

  #look(): void {
    const writers = this.#primaries.filter(({ mayWrite }) => mayWrite);
    if (writers.length > 1) {
      this.#broken("F1", `${writers.map(({ host }) => host.name).join(" and ")} may write`);
    }
    const [writer] = writers;
    if (writer === undefined || this.#turns.at(-1)?.primary === writer) return;
    this.#turns.push({ primary: writer, atMs: this.#scheduler.nowMs });
    this.#note(`${writer.host.name}: may write`);
  }

  #stored(host: Host, path: string, sentMs: number): void {
    if (path === LEASE_PATH) return;
    this.#total.writes++;
    const turn = this.#turns.findLast(({ primary }) => primary.host === host);
    const after = this.#turns.find(({ primary, atMs }) =>
      primary.host !== host && atMs > (turn?.atMs ?? Infinity)
    );
    // Another daemon of the same installation starts when this one is gone.
    const [own] = host.name.split(".");
    if (after === undefined || after.primary.host.name.startsWith(`${own}.`)) return;
    // What a machine had under way when it fell asleep goes on before it can know how long that was.
    if (sentMs - host.wokeMs < AWAKE_MS) return;
    const what = `${path} of ${host.name}, sent at ${sentMs % 1e7 | 0}, takes effect after ` +
      `${after.primary.host.name} may write`;
    this.#broken("F1", what);
  }

  #known(path: string, number: number): void {
    const versions = this.#acknowledged.get(path) ?? [];
    versions.push({ number, atMs: this.#scheduler.nowMs });
    this.#acknowledged.set(path, versions);
  }

  #served(replica: string, path: string, copy: StoredVersion): void {
    this.#total.served++;
    const oldestMs = this.#scheduler.nowMs - PERIOD_MS - ROUND_MS;
    const newer = this.#acknowledged.get(path)?.find(({ number }) => number > copy.number);
    if (newer === undefined || newer.atMs >= oldestMs) return;
    const sinceMs = this.#scheduler.nowMs - newer.atMs;
    this.#broken("F2", `${replica} uses ${path} without a look, outdated for ${sinceMs | 0} ms`);
  }
}
