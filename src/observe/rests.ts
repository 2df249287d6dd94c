/**
 * Notices when a load is over, so that the daemon can give back what the load made it take.
 *
 * Work is told by the processor time that the process used: whatever the work was, uploads, a comparison
 * of the depot or a backup, it left memory behind.
 *
 * @module
 */

import process from "node:process";

/** Time between two looks, ms. */
const LOOK_MS = 500;

/** Looks in a row without work before the daemon rests. */
const QUIET_LOOKS = 4;

/** Processor time between two looks that is no work yet: 4 % of one processor, ms. */
const QUIET_CPU_MS = 20;

/**
 * Processor time since the last rest that is worth another, ms: what a rest takes (20 to 40 ms) is then a
 * few percent of it at most, however short the pauses of a load are.
 */
const WORTH_CPU_MS = 1000;

/** Decides when to rest. */
export class Rests {
  readonly #cpuMs: () => number;
  #seenMs: number;
  #restedMs: number;
  #quietLooks = 0;
  #isWanted = false;

  /** @param cpuMs Processor time that the process has used, ms. */
  constructor(cpuMs: () => number) {
    this.#cpuMs = cpuMs;
    this.#seenMs = this.#restedMs = cpuMs();
  }

  /** Much was freed just now: the next pause is worth a rest, however little was done. */
  want(): void {
    this.#isWanted = true;
  }

  /** Called every {@link LOOK_MS}. @returns Whether a load is over whose memory is not given back yet. */
  isDue(): boolean {
    const nowMs = this.#cpuMs();
    this.#quietLooks = nowMs - this.#seenMs > QUIET_CPU_MS ? 0 : this.#quietLooks + 1;
    this.#seenMs = nowMs;
    if (this.#quietLooks < QUIET_LOOKS) return false;
    const isWorthIt = this.#isWanted || nowMs - this.#restedMs >= WORTH_CPU_MS;
    this.#isWanted = false;
    return isWorthIt;
  }

  /** Called when the rest is over: what it took itself is no work. */
  rested(): void {
    this.#restedMs = this.#seenMs = this.#cpuMs();
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

/** Processor time that this process has used, all threads, ms. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

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
