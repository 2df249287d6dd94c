/**
 * Whether this daemon may write to its storage: what `lease.ts` gives and takes, and what the engine and
 * the storage ask. Health and log tell of it.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { Health } from "../observe/health.ts";
import type { LeaseClock } from "./lease_clock.ts";
import type { LeaseRecord } from "./lease_record.ts";

/** Between two looks at the holder's clock at most, ms. */
const LONGEST_PAUSE_MS = 1000;

/** How a daemon stands to the lease of its storage. */
export type RightState =
  /** There is no lease to keep: writes are always allowed. */
  | "none"
  /** It has not got it yet. */
  | "waiting"
  | "held"
  /** It had it, could not renew it in time, and goes on when nobody else took it. */
  | "suspended"
  /** Somebody else has it, or had it: nothing is written any more. */
  | "fenced"
  | "released";

/** What people are told of another holder. */
export type OtherHolder = Pick<LeaseRecord, "host" | "pid" | "started" | "epoch">;

/** What it works with. */
export interface RightParts {
  /** The one clock of this daemon's lease: times of two cannot be compared. */
  readonly clock: LeaseClock;
  readonly health: Health;
  readonly log: Logger;
}

/** See the module. */
export class WriteRight {
  readonly #parts: RightParts;
  #state: RightState = "none";
  #other: OtherHolder | null = null;
  /** Of the storage. */
  #label = "";
  /** Until when it may write, on the holder's clock, ms. */
  #untilMs = 0;
  #isWatched = false;
  #isEnding = false;
  readonly #ended = new AbortController();
  #waiters: (() => void)[] = [];
  readonly #onLost: (() => void)[] = [];

  constructor(parts: RightParts) {
    this.#parts = parts;
  }

  /** What {@link hold} counts on. */
  get clock(): LeaseClock {
    return this.#parts.clock;
  }

  /** Has it called, in the same turn, when nothing may be written any more. */
  onLost(call: () => void): void {
    this.#onLost.push(call);
  }

  get state(): RightState {
    return this.#state === "held" && !this.isHeld ? "suspended" : this.#state;
  }

  /** Another daemon that holds the lease, or may. */
  get other(): OtherHolder | null {
    return this.#other;
  }

  /** Whether this daemon may write at this moment. */
  get isHeld(): boolean {
    if (this.#state === "none") return true;
    return this.#state === "held" && this.#parts.clock.holderMs() < this.#untilMs;
  }

  /** Why nothing may be written, for an error's text. */
  get why(): string {
    return this.#state === "fenced"
      ? `${describeHolder(this.#other!)} took the lease of ${this.#label}`
      : `the lease of ${this.#label} is not held at the moment`;
  }

  /** Resolves when this daemon may write, or is about to end. */
  async whenHeld(): Promise<void> {
    if (this.isHeld || this.#isEnding) return;
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** Lets nobody wait any more: the daemon is about to end. */
  endWaits(): void {
    this.#isEnding = true;
    this.#wake();
  }

  /** From now on there is a lease to be had, and nothing may be written before. */
  require(label: string): void {
    this.#label = label;
    this.#lose("waiting");
  }

  /** There is none to be had after all. */
  dispense(): void {
    this.#state = "none";
    this.#parts.health.clear("lease_waiting");
    this.#wake();
  }

  /** Nothing may be written yet. @param other Who holds the lease, as far as that is known. */
  wait(why: string, other: OtherHolder | null): void {
    this.#other = other;
    this.#parts.health.raise("lease_waiting", `nothing is uploaded or evicted: ${why}`);
  }

  /** This daemon may write until that time on the holder's clock, ms. */
  hold(untilMs: number, epoch: number): void {
    const { clock, health, log } = this.#parts;
    this.#untilMs = untilMs;
    // An answer that took too long is worth nothing.
    if (this.#state === "held" || clock.holderMs() >= untilMs) return;
    if (this.#state === "waiting") log.info(`Holds the lease of ${this.#label} (epoch ${epoch})`);
    this.#state = "held";
    this.#other = null;
    health.clear("lease_waiting");
    this.#wake();
    if (!this.#isWatched) void this.#watchTime();
  }

  /** Another daemon has the lease. */
  fence(by: OtherHolder): void {
    const { health, log } = this.#parts;
    this.#other = by;
    this.#lose("fenced");
    health.clear("lease_waiting");
    const reason = `${describeHolder(by)} took the lease of ${this.#label}: nothing is uploaded, ` +
      `removed or evicted here any more; restores go on`;
    health.raise("fenced", reason);
    log.error(
      `Fenced: ${reason}. Stop this daemon; bring its depot up to date before it may write again`,
    );
  }

  /** The daemon writes no more. */
  release(): void {
    if (this.#state !== "none" && this.#state !== "fenced") this.#state = "released";
    this.#ended.abort();
    this.endWaits();
  }

  /** Ends the time in which the daemon may write. */
  async #watchTime(): Promise<void> {
    const { clock } = this.#parts;
    this.#isWatched = true;
    while (this.#state === "held" && !this.#ended.signal.aborted) {
      const leftMs = this.#untilMs - clock.holderMs();
      if (leftMs > 0) {
        // The pause stands still while the machine sleeps, and what is under way goes on when it wakes.
        await clock.pause(Math.min(leftMs, LONGEST_PAUSE_MS), this.#ended.signal);
        continue;
      }
      this.#lose("suspended");
      this.wait(`the lease of ${this.#label} could not be renewed in time`, null);
    }
    this.#isWatched = false;
  }

  #lose(state: "waiting" | "suspended" | "fenced"): void {
    this.#state = state;
    for (const call of this.#onLost) call();
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

/** A holder in one phrase. */
export function describeHolder({ host, pid, started, epoch }: OtherHolder): string {
  return `the daemon on ${host} (pid ${pid}, since ${started}, epoch ${epoch})`;
}
