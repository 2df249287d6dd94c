/**
 * The dirty window: p4d on a replica asks for a revision that the primary has, and has not stored yet.
 *
 * Only archives are waited for: p4d asks for one when its metadata says that it is there.
 *
 * @module
 */

import { isArchive } from "../cache/archive_names.ts";

/** Between two looks, ms: the first wait, and the longest. */
const FIRST_MS = 50, LONGEST_MS = 1000;

/** See the module. */
export class DirtyWindow {
  readonly #waitMs: () => number;
  readonly #nowMs: () => number;
  readonly #pause: (ms: number) => Promise<void>;

  /**
   * @param waitMs Longest wait for one file.
   * @param nowMs Rises; from any beginning.
   */
  constructor(waitMs: () => number, nowMs: () => number, pause: (ms: number) => Promise<void>) {
    this.#waitMs = waitMs;
    this.#nowMs = nowMs;
    this.#pause = pause;
  }

  /** Waits a little, longer each time; then whether to look again. @param sinceMs When it was first asked for. */
  async mayComeSoon(path: string, sinceMs: number): Promise<boolean> {
    if (!isArchive(path)) return false;
    const waitedMs = this.#nowMs() - sinceMs;
    const leftMs = this.#waitMs() - waitedMs;
    if (leftMs <= 0) return false;
    await this.#pause(Math.min(leftMs, LONGEST_MS, Math.max(FIRST_MS, waitedMs / 2)));
    return true;
  }
}
