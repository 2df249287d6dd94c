/**
 * The most recently opened files of an access log: entries come in the order of their paths, and only a
 * bounded number of them is in memory.
 *
 * @module
 */

/** One file; the path is one character per byte. */
export interface RecentFile {
  readonly path: string;
  readonly seconds: number;
}

/** See the module's description. */
export class MostRecent {
  readonly #limit: number;
  #kept: RecentFile[] = [];
  /** Nothing as old as this gets in any more. */
  #oldest = -1;

  /** @param limit Files that are remembered. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes one entry. */
  add(path: Uint8Array, seconds: number): void {
    if (seconds <= this.#oldest) return;
    this.#kept.push({ path: String.fromCharCode(...path), seconds });
    if (this.#kept.length >= 2 * this.#limit) this.#prune();
  }

  /** The files, the latest first. */
  finish(): RecentFile[] {
    this.#prune();
    return this.#kept;
  }

  #prune(): void {
    this.#kept.sort((a, b) => b.seconds - a.seconds);
    if (this.#kept.length <= this.#limit) return;
    this.#kept = this.#kept.slice(0, this.#limit);
    this.#oldest = this.#kept.at(-1)!.seconds;
  }
}
