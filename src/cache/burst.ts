/**
 * Waits for files that come together: a moment for a few, longer for a burst. Whoever writes thousands of
 * small files has the processors and the disk for itself meanwhile, and its files are recorded in fewer
 * commits. What is larger comes more slowly than a burst, and is not waited for.
 *
 * @module
 */

/** Wait after the first of many files, so that they are taken together, ms. */
export const GATHER_MS = 20;

/** Files in a step of the wait that are a burst. */
const BURST_FILES = 200;

/** Steps after the first, ms: long enough that somebody who is held up for a moment is not taken for done. */
const STEP_MS = 50;

/** Steps at most. */
const MOST_STEPS = 12;

/**
 * Resolves when a burst is over, or has lasted for half a second.
 * @param count How many files came so far.
 * @param wait Resolves after so many ms.
 */
export async function gatherBurst(
  count: () => number,
  wait: (ms: number) => Promise<unknown>,
): Promise<void> {
  for (let step = 0; step < MOST_STEPS; step++) {
    const before = count();
    await wait(step === 0 ? GATHER_MS : STEP_MS);
    if (count() - before < BURST_FILES) return;
  }
}
