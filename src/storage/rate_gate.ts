/**
 * Lets through so many units a second: requests, or bytes.
 *
 * Units may be taken before they are there (a part of 8 MiB at 1 MB a second): the debt is waited off
 * by whoever comes next, so the average holds whatever the sizes. Not a library's token bucket,
 * because of what those lack: urgent ones first, more units than the bucket holds, a rate that
 * changes with the time of day, waits that a signal ends.
 *
 * @module
 */

/** Units that were not used are kept for this long, s. */
const BURST_S = 0.25;

/** A change of the rate is noticed after this long by those who wait, ms. */
const LONGEST_WAIT_MS = 1000;

/**
 * So many times its units go in urgent ones before an ordinary one that waits: seven requests before a
 * request, many small files before a slice of a large one. None waits for ever.
 */
const URGENT_SHARE = 7;

/** What the gate needs of time. */
export interface Clock {
  nowMs(): number;
  /** Calls once, after so many ms. */
  after(ms: number, call: () => void): void;
}

const SYSTEM_CLOCK: Clock = {
  nowMs: () => performance.now(),
  after: (ms, call) => void setTimeout(call, ms),
};

interface Waiter {
  readonly units: number;
  readonly signal: AbortSignal;
  readonly go: () => void;
}

/** See the module. */
export class RateGate {
  readonly #rate: () => number;
  readonly #clock: Clock;
  readonly #urgent: Waiter[] = [];
  readonly #ordinary: Waiter[] = [];
  #left = 0;
  #asOfMs: number;
  #isScheduled = false;
  /** Units of urgent ones since the last ordinary one. */
  #urgentUnits = 0;
  #passed = 0;

  /** @param rate Units a second now; Infinity: no limit. */
  constructor(rate: () => number, clock: Clock = SYSTEM_CLOCK) {
    this.#rate = rate;
    this.#clock = clock;
    this.#asOfMs = clock.nowMs();
    this.#left = this.#room();
  }

  /** Those who wait. */
  get waiting(): number {
    return this.#urgent.length + this.#ordinary.length;
  }

  /** Units that passed since the start. */
  get passed(): number {
    return this.#passed;
  }

  /** Resolves when the units may be used, and early when the signal is aborted. */
  enter(units: number, isUrgent: boolean, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    if (this.waiting === 0 && this.#isOpen()) {
      this.charge(units);
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const go = () => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      const waiter: Waiter = { units, signal, go };
      const queue = isUrgent ? this.#urgent : this.#ordinary;
      const stop = () => {
        const at = queue.indexOf(waiter);
        if (at >= 0) queue.splice(at, 1);
        go();
      };
      signal.addEventListener("abort", stop);
      queue.push(waiter);
      this.#schedule();
    });
  }

  /** Corrects what was taken: more was used than said, or, below 0, less. */
  charge(units: number): void {
    this.#passed += units;
    // What passes without limit is no debt when one begins.
    if (this.#rate() !== Infinity) this.#left -= units;
  }

  /** What may lie unused; at least one unit, or a slow rate would never let one through. */
  #room(): number {
    const rate = this.#rate();
    return rate === Infinity ? 1 : Math.max(1, rate * BURST_S);
  }

  /** Whether the next one may go. */
  #isOpen(): boolean {
    const rate = this.#rate(), nowMs = this.#clock.nowMs();
    const gainedS = (nowMs - this.#asOfMs) / 1000;
    this.#asOfMs = nowMs;
    this.#left = rate === Infinity ? 1 : Math.min(this.#room(), this.#left + gainedS * rate);
    return this.#left > 0;
  }

  #schedule(): void {
    if (this.#isScheduled || this.waiting === 0) return;
    const debtMs = this.#isOpen() ? 0 : -this.#left / this.#rate() * 1000 + 1;
    this.#isScheduled = true;
    this.#clock.after(Math.min(debtMs, LONGEST_WAIT_MS), () => {
      this.#isScheduled = false;
      while (this.waiting > 0 && this.#isOpen()) {
        const next = this.#next();
        this.charge(next.units);
        next.go();
      }
      this.#schedule();
    });
  }

  /** First come, first served, the urgent ones before. */
  #next(): Waiter {
    const [ordinary] = this.#ordinary, [urgent] = this.#urgent;
    const isOrdinary = urgent === undefined ||
      (ordinary !== undefined && this.#urgentUnits >= URGENT_SHARE * ordinary.units);
    this.#urgentUnits = isOrdinary ? 0 : this.#urgentUnits + urgent.units;
    return (isOrdinary ? this.#ordinary : this.#urgent).shift()!;
  }
}
