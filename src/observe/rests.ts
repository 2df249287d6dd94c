/**
 * Notices when a load is over, so that the daemon can give back what the load made it take.
 *
 * Whatever the load was, uploads, a comparison of the depot or a backup: that it lasts is told by the
 * processor time that the process uses, and what it left by the memory that the process has.
 *
 * @module
 */

import process from "node:process";

/** Time between two looks, ms. */
const LOOK_MS = 500;

/** Looks in a row without work before the daemon rests. */
const QUIET_LOOKS = 4;

/** Processor time between two looks that is no work yet, ms: an idle daemon's is about one. */
const QUIET_CPU_MS = 8;

/** Memory taken since the last rest that is worth another, bytes. */
const WORTH_BYTES = 16 * 1024 * 1024;

/** What is known of the process at a moment. */
export interface ProcessReadings {
  /** Processor time used so far, all threads, ms. */
  cpuMs(): number;
  /** Memory that it has, pages of the manifest among it, bytes. */
  residentBytes(): number;
}

/** Decides when to rest. */
export class Rests {
  readonly #process: ProcessReadings;
  #seenMs: number;
  #restedBytes: number;
  #quietLooks = 0;
  #isWanted = false;

  constructor(process: ProcessReadings) {
    this.#process = process;
    this.#seenMs = process.cpuMs();
    this.#restedBytes = process.residentBytes();
  }

  /** Much was freed just now, wherever it went: the next pause is worth a rest. */
  want(): void {
    this.#isWanted = true;
  }

  /** Called every {@link LOOK_MS}. @returns Whether a load is over whose memory is not given back yet. */
  isDue(): boolean {
    const nowMs = this.#process.cpuMs();
    this.#quietLooks = nowMs - this.#seenMs > QUIET_CPU_MS ? 0 : this.#quietLooks + 1;
    this.#seenMs = nowMs;
    if (this.#quietLooks < QUIET_LOOKS) return false;
    const takenBytes = this.#process.residentBytes() - this.#restedBytes;
    const isWorthIt = this.#isWanted || takenBytes >= WORTH_BYTES;
    this.#isWanted = false;
    return isWorthIt;
  }

  /** Called when the rest is over: what it took itself is no work, and what is still there stays. */
  rested(): void {
    this.#seenMs = this.#process.cpuMs();
    this.#restedBytes = this.#process.residentBytes();
  }
}

/**
 * Looks from now on.
 * @param rest Called when a load is over. It does not throw.
 * @returns What stops it; resolves when no rest is in progress.
 */
export function startRests(rests: Rests, rest: () => Promise<void>): () => Promise<void> {
  let resting: Promise<void> | null = null;
  const look = () => {
    if (resting !== null || !rests.isDue()) return;
    resting = rest().finally(() => {
      rests.rested();
      resting = null;
    });
  };
  const timer = setInterval(look, LOOK_MS);
  return async () => {
    clearInterval(timer);
    await resting;
  };
}

/** This process. */
export const THIS_PROCESS: ProcessReadings = {
  cpuMs() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  residentBytes: () => Deno.memoryUsage().rss,
};

/**
 * Collects all that is no longer used and gives the empty pages back, in 20 to 40 ms. V8 lends it to programs
 * that are built with `--expose-gc` (src/build/build.ts). What its own reducer of memory does eight seconds
 * after a load, or later, takes longer and leaves more.
 * @throws TypeError in a program that was built without.
 */
export function collectGarbage(): void {
  const { gc } = globalThis as unknown as { gc: (how: { type: string; flavor: string }) => void };
  // As before V8 would give up for want of memory: again until nothing is found, and no page is kept.
  gc({ type: "major", flavor: "last-resort" });
}
