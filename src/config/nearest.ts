/**
 * Finds the known name that somebody probably meant.
 *
 * @module
 */

import { levenshteinDistance } from "deno-std/text/levenshtein_distance.js";

/** The closest of `known` to `given`, or null when none is close enough to be meant. */
export function nearest(given: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.max(2, Math.floor(given.length * 0.4)) + 1;
  for (const name of known) {
    const distance: number = levenshteinDistance(given.toLowerCase(), name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}
