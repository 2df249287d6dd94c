/**
 * How long to wait before trying again: exponential with full jitter, unless the provider said how
 * long.
 *
 * @module
 */

/** Bounds of the waits, ms. */
export interface Backoff {
  /** Upper bound of the first wait; it doubles with each further one. */
  readonly firstMs: number;
  /** Upper bound of any wait, also of one the provider asked for. */
  readonly maxMs: number;
}

/**
 * Wait before the next attempt.
 * @param failures Attempts that have failed, from 1.
 * @param retryAfterMs What the provider asked for; waited at least.
 * @param random Uniform in [0, 1).
 */
export function backoffMs(
  backoff: Backoff,
  failures: number,
  retryAfterMs: number | undefined,
  random: () => number = Math.random,
): number {
  const ceiling = Math.min(backoff.maxMs, backoff.firstMs * 2 ** (failures - 1));
  // Jitter on top of what was asked, or everyone who was told the same would come at once.
  return Math.min(backoff.maxMs, (retryAfterMs ?? 0) + random() * ceiling);
}

/** Waits; returns early, without error, when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
