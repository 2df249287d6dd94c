/**
 * One machine of the simulated cluster: it may be cut off, sleep, and crash. What a crashed one waits for
 * never comes.
 *
 * @module
 */

import type { LeaseClock } from "../../../src/cluster/lease_clock.ts";
import { StorageError } from "../../../src/storage/backend.ts";
import type { Scheduler } from "../world/scheduler.ts";

/** See the module. */
export class Host {
  isAlive = true;
  /** Whether it is cut off from the storage. */
  isCut = false;
  readonly clock: LeaseClock;
  readonly #scheduler: Scheduler;
  #sleptMs = 0;
  #asleepUntilMs = 0;

  /** @param aheadMs By how much its clocks differ from others'. */
  constructor(scheduler: Scheduler, readonly name: string, aheadMs: number) {
    this.#scheduler = scheduler;
    this.clock = {
      nowMs: () => aheadMs + this.#monotonicMs,
      holderMs: () => aheadMs + scheduler.nowMs,
      pause: (ms, signal) => this.orAborted(this.pause(ms), signal).catch(() => {}),
    };
  }

  /** Time in which it was awake, ms. */
  get #monotonicMs(): number {
    return this.#scheduler.nowMs - this.#sleptMs;
  }

  /** When it last woke, ms. */
  get wokeMs(): number {
    return this.#asleepUntilMs;
  }

  get isAwake(): boolean {
    return this.isAlive && this.#scheduler.nowMs >= this.#asleepUntilMs;
  }

  /** The machine stands still for so long. */
  sleep(ms: number): void {
    if (!this.isAwake) return;
    this.#asleepUntilMs = this.#scheduler.nowMs + ms;
    this.#sleptMs += ms;
  }

  crash(): void {
    this.isAlive = false;
  }

  /** Waits on its own clock, which stands still while it sleeps. */
  async pause(ms: number): Promise<void> {
    const untilMs = this.#monotonicMs + ms;
    while (!this.isAwake || this.#monotonicMs < untilMs) {
      if (!this.isAlive) return await new Promise(() => {});
      const leftMs = Math.max(
        untilMs - this.#monotonicMs,
        this.#asleepUntilMs - this.#scheduler.nowMs,
      );
      await new Promise<void>((resolve) => this.#scheduler.setTimer(resolve, leftMs, false));
    }
  }

  /** What the promise gives, unless it is given up before. Of a crashed host nothing goes on. */
  async orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
    const given = Promise.withResolvers<never>();
    const abort = () => given.reject(new StorageError("transient", "Cannot go on: stopped"));
    given.promise.catch(() => {});
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    try {
      return await Promise.race([promise, given.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
      if (!this.isAlive) await new Promise(() => {});
    }
  }
}
