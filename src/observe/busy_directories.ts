/**
 * The directories in which files are opened most at the moment.
 *
 * Counts halve every minute, so that what is told is about the last few minutes. Only a bounded number of
 * directories is counted; where there are more, those with the least are forgotten.
 *
 * @module
 */

import { directoryOf, displayPath } from "../depot_path.ts";

/** Directories that are counted. */
const COUNTED = 2000;

/** Paths of one report that are looked at; they stand for the others. */
const SAMPLED = 256;

const HALF_LIFE_MS = 60_000;

/** A directory, and about how often its files were opened in the last minutes. */
export interface BusyDirectory {
  readonly path: string;
  readonly accesses: number;
}

/** See the module's description. */
export class BusyDirectories {
  readonly #counts = new Map<string, number>();
  readonly #nowMs: () => number;
  #halvedAtMs: number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
    this.#halvedAtMs = nowMs();
  }

  /** Files were opened. */
  note(paths: readonly string[]): void {
    this.#halve();
    const step = Math.max(1, Math.floor(paths.length / SAMPLED));
    for (let i = 0; i < paths.length; i += step) {
      const dir = directoryOf(paths[i]!);
      this.#counts.set(dir, (this.#counts.get(dir) ?? 0) + step);
    }
    if (this.#counts.size > 2 * COUNTED) this.#forgetLeast();
  }

  /** The busiest, the most first. */
  top(limit: number): BusyDirectory[] {
    this.#halve();
    return this.#sorted().slice(0, limit).map(([path, count]) => ({
      path: path === "" ? "." : displayPath(path),
      accesses: Math.round(count),
    }));
  }

  #halve(): void {
    const halvings = Math.floor((this.#nowMs() - this.#halvedAtMs) / HALF_LIFE_MS);
    if (halvings <= 0) return;
    this.#halvedAtMs += halvings * HALF_LIFE_MS;
    for (const [dir, count] of this.#counts) {
      const left = count / 2 ** halvings;
      if (left < 0.5) this.#counts.delete(dir);
      else this.#counts.set(dir, left);
    }
  }

  #forgetLeast(): void {
    for (const [dir] of this.#sorted().slice(COUNTED)) this.#counts.delete(dir);
  }

  #sorted(): [string, number][] {
    return [...this.#counts].sort(([, a], [, b]) => b - a);
  }
}
