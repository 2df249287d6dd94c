/**
 * How many requests to have in flight: more while that gets more done, fewer when the storage asks to
 * slow down. What is right depends on the storage's distance, which nobody knows beforehand.
 *
 * Hill climbing: while requests wait for their turn, the limit is raised by half and kept there if so
 * many more were done in the time after; otherwise it goes back, and the next try waits.
 *
 * @module
 */

/** A raised limit is kept when it brings at least this share of what it could. */
const WORTH = 0.25;

const GROWTH = 1.5;

/** Shortest time over which a rate is taken, ms. */
const WINDOW_MS = 200;

/** Windows to wait after a raise that brought nothing, and after being asked to slow down. */
const HOLD_WINDOWS = 20;

/** Between two halvings, ms: requests in flight say the same again. */
const HALVING_MS = 1000;

/** Bounds of the limit. */
export interface AdaptiveBounds {
  /** Where it starts, and never below. */
  readonly min: number;
  readonly max: number;
}

/** See the module. */
export class AdaptiveLimit {
  readonly #bounds: () => AdaptiveBounds;
  #limit: number;
  /** Limit and rate before the raise that is being tried; null when none is. */
  #before: { readonly limit: number; readonly rate: number } | null = null;
  #hold = 0;
  #count = 0;
  #hurriedCount = 0;
  #windowBeganMs = 0;
  #halvedMs = -Infinity;

  /** @param bounds Asked again and again: settings may change. */
  constructor(bounds: () => AdaptiveBounds) {
    this.#bounds = bounds;
    this.#limit = bounds().min;
  }

  /** Requests that may be in flight now. */
  get value(): number {
    const { min, max } = this.#bounds();
    return Math.max(min, Math.min(this.#limit, Math.max(min, max)));
  }

  /**
   * A request ended well.
   * @param moreWaits Whether others were waiting for their turn: else the limit says nothing.
   * @param nowMs Time of a clock that only goes forward.
   */
  done(moreWaits: boolean, nowMs: number): void {
    if (this.#count === 0 && this.#windowBeganMs === 0) this.#windowBeganMs = nowMs;
    this.#count++;
    if (moreWaits) this.#hurriedCount++;
    const elapsedMs = nowMs - this.#windowBeganMs;
    // A full turn of all places, or the rate would be that of the limit before.
    if (elapsedMs < WINDOW_MS || this.#count < 2 * this.value) return;
    if (this.#hurriedCount >= this.#count / 2) this.#decide(this.#count / elapsedMs);
    else this.#before = null;
    this.#beginWindow(nowMs);
  }

  /** The storage asked to slow down. */
  throttled(nowMs: number): void {
    if (nowMs - this.#halvedMs < HALVING_MS) return;
    this.#halvedMs = nowMs;
    this.#limit = Math.max(this.#bounds().min, Math.floor(this.value / 2));
    this.#before = null;
    this.#hold = HOLD_WINDOWS;
    this.#beginWindow(nowMs);
  }

  #decide(rate: number): void {
    if (this.#before !== null) {
      const { limit, rate: rateBefore } = this.#before;
      const hoped = this.value / limit - 1;
      if (rate < rateBefore * (1 + WORTH * hoped)) {
        this.#limit = limit;
        this.#before = null;
        this.#hold = HOLD_WINDOWS;
        return;
      }
    }
    if (this.#hold > 0) {
      this.#hold--;
      return;
    }
    const limit = this.value;
    this.#limit = Math.ceil(limit * GROWTH);
    this.#before = this.value > limit ? { limit, rate } : null;
  }

  #beginWindow(nowMs: number): void {
    this.#windowBeganMs = nowMs;
    this.#count = 0;
    this.#hurriedCount = 0;
  }
}
