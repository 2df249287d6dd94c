/**
 * Daemons that share one lease, in a time that only goes by when the test says so; each can be cut off
 * from the storage, crash, and sleep.
 *
 * @module
 */

import { assert } from "deno-std/assert/mod.js";
import { Lease } from "../../src/cluster/lease.ts";
import type { LeaseClock } from "../../src/cluster/lease_clock.ts";
import { LEASE_PATH, type LeaseRecord, parseLease } from "../../src/cluster/lease_record.ts";
import { type Certain, LeaseStore } from "../../src/cluster/lease_store.ts";
import { WriteRight } from "../../src/cluster/write_right.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { Health } from "../../src/observe/health.ts";
import { getLog } from "../../src/observe/logging.ts";
import {
  type Backend,
  type Content,
  type PutCondition,
  StorageError,
} from "../../src/storage/backend.ts";
import { DecoratedBackend } from "../../src/storage/decorated.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

/** Time to live of every lease here, s. */
export const TTL_SECONDS = 60;

/** The smallest step of time that is looked at, ms. */
const STEP_MS = 250;

/** Lets everything run that waits for no time: there is nothing here but promises. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await null;
}

/** One time for all daemons. */
export class World {
  #nowMs = 1_000;
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  readonly bucket: MemoryBackend;
  readonly daemons: DaemonSide[] = [];

  /**
   * @param heeds The writes for which the storage keeps to conditions; it takes any others.
   * @param said What is said of it.
   */
  constructor(readonly heeds: Certain = "all", readonly said = heeds) {
    this.bucket = new MemoryBackend();
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const sleeper = { atMs: this.#nowMs + ms, wake: () => {} };
      const wake = () => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      sleeper.wake = wake;
      signal.addEventListener("abort", wake);
      this.#sleepers.add(sleeper);
    });
  }

  /** Lets time go by; at no moment may two daemons write. */
  async pass(seconds: number): Promise<void> {
    const endMs = this.#nowMs + seconds * 1000;
    await settle();
    this.assertOneWriter();
    while (this.#nowMs < endMs) {
      this.#nowMs = Math.min(endMs, this.#nowMs + STEP_MS);
      const due = [...this.#sleepers].filter(({ atMs }) => atMs <= this.#nowMs);
      for (const { wake } of due) wake();
      if (due.length > 0) await settle();
      this.assertOneWriter();
    }
  }

  assertOneWriter(): void {
    const writers = this.daemons.filter(({ right }) => right.isHeld);
    assert(
      writers.length <= 1,
      `${writers.length} daemons may write: ${writers.map((d) => d.name)}`,
    );
  }

  /** The lease as it stands in the bucket. */
  record(): LeaseRecord {
    return parseLease(this.bucket.objects.get(LEASE_PATH)!.bytes, 0);
  }

  /** Starts a daemon. @param holder Its installation; its own unless given. */
  daemon(name: string, options: Partial<DaemonOptions> = {}): DaemonSide {
    const daemon = new DaemonSide(this, name, {
      holder: name,
      takeOver: false,
      isRequired: true,
      ...options,
    });
    this.daemons.push(daemon);
    return daemon;
  }

  async end(): Promise<void> {
    for (const { line } of this.daemons) line.before = line.after = () => {};
    let isOver = false;
    const over = Promise.all(this.daemons.map(({ lease }) => lease.release()));
    void over.then(() => isOver = true);
    while (!isOver) {
      this.#nowMs += STEP_MS;
      for (const { wake } of this.#sleepers) wake();
      await settle();
    }
  }
}

/** What tests choose of a daemon. */
export interface DaemonOptions {
  readonly holder: string;
  readonly takeOver: boolean;
  readonly isRequired: boolean;
}

/** One daemon. */
class DaemonSide {
  readonly right: WriteRight;
  readonly lease: Lease;
  readonly line: Line;
  readonly health = new Health(getLog("health"));
  /** How its start went: undefined while it is under way, null when it went well. */
  started: Error | null | undefined;
  /** Times at which it lost the right to write, ms. */
  readonly losses: number[] = [];
  #sleptMs = 0;
  isCrashed = false;

  constructor(world: World, readonly name: string, options: DaemonOptions) {
    const clock: LeaseClock = {
      nowMs: () => world.nowMs,
      holderMs: () => world.nowMs + this.#sleptMs,
      // What is crashed does not wake up again.
      pause: async (ms, signal) => {
        await world.pause(ms, signal);
        if (this.isCrashed) await world.pause(Infinity, signal);
      },
    };
    this.line = new Line(world.bucket, world.heeds);
    this.right = new WriteRight({ clock, health: this.health, log: getLog("lease") });
    this.lease = new Lease({
      store: new LeaseStore(this.line, world.said, TTL_SECONDS, 600_000),
      right: this.right,
      holder: options.holder,
      session: crypto.randomUUID(),
      host: `host-${name}`,
      pid: 1,
      ttlSeconds: TTL_SECONDS,
      isRequired: options.isRequired,
      log: getLog("lease"),
    });
    this.right.require(world.bucket.label);
    this.right.onLost(() => this.losses.push(world.nowMs));
    this.lease.start(options.takeOver).then(() => this.started = null, (e) => this.started = e);
  }

  /** The machine slept: its monotonic clock did not notice. */
  sleep(seconds: number): void {
    this.#sleptMs += seconds * 1000;
  }

  /** It is gone from now on: nothing of it runs, and it may write nothing. */
  crash(): void {
    this.isCrashed = true;
    this.line.cut();
    Object.defineProperty(this.right, "isHeld", { value: false });
  }
}

/** A daemon's way to the storage, which gives equal bytes equal tags, as S3 does. */
class Line extends DecoratedBackend {
  #failure: StorageError | null = null;
  /** Whether a condition is answered with an error of its own (S3: 501 NotImplemented). */
  refusesConditions = false;
  /** Runs before each request: may wait. */
  before: (operation: string) => Promise<void> | void = () => {};
  /** Runs before each answer: throwing is an answer that is lost. */
  after: (operation: string) => Promise<void> | void = () => {};

  constructor(readonly bucket: MemoryBackend, readonly heeds: Certain) {
    super(bucket);
  }

  cut(failure = new StorageError("transient", "Cannot reach the storage: the line is cut")): void {
    this.#failure = failure;
  }

  mend(): void {
    this.#failure = null;
  }

  override put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    return this.around("put", async () => {
      if (this.refusesConditions && condition !== undefined) {
        throw new StorageError("permanent", "Cannot store it: conditions are not implemented");
      }
      const there = this.bucket.objects.get(path)?.info;
      const isHeeded = this.heeds === "all" || this.heeds === "first" && condition?.ifAbsent;
      const heeded = isHeeded ? condition : undefined;
      if (heeded !== undefined && there?.digest !== heeded.ifMatch) {
        throw new StorageError("conflict", "Cannot store it: another version is there");
      }
      const inner = there === undefined ? { ifAbsent: true } as const : { ifMatch: there.etag };
      await this.bucket.put(path, content, signal, heeded === undefined ? heeded : inner);
      return { etag: content.digest };
    });
  }

  override async getRange(
    ...request: Parameters<Backend["getRange"]>
  ): ReturnType<Backend["getRange"]> {
    const { info, bytes } = await super.getRange(...request);
    return { info: { ...info, etag: info.digest! }, bytes };
  }

  list(prefix: string, signal: AbortSignal): ReturnType<Backend["list"]> {
    return this.inner.list(prefix, signal);
  }

  protected override async around<T>(operation: string, call: () => Promise<T>): Promise<T> {
    if (this.#failure !== null) throw this.#failure;
    await this.before(operation);
    const value = await call();
    await this.after(operation);
    if (this.#failure !== null) throw this.#failure;
    return value;
  }
}
