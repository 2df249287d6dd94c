/**
 * Files that became dirty while very many others wait: some of them go between those, so that what is
 * submitted now is safe soon, however long the queue is.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";

/** Files that wait without being thought of as very many. */
const QUEUE_FILES = 2000;

/** Files that are remembered; of more only the latest (P5): the others have their place in the queue. */
const MOST_FILES = 1000;

/** See the module. */
export class FreshFiles {
  readonly #paths = new Set<DepotPath>();

  /** @param waiting Files in the queue. */
  note(path: DepotPath, waiting: number): void {
    if (waiting < QUEUE_FILES) return;
    this.#paths.delete(path);
    this.#paths.add(path);
    if (this.#paths.size <= MOST_FILES) return;
    const [oldest] = this.#paths;
    this.#paths.delete(oldest!);
  }

  /** Takes out up to so many, those that came first before the others. */
  take(most: number): DepotPath[] {
    const taken: DepotPath[] = [];
    for (const path of this.#paths) {
      if (taken.length === most) break;
      taken.push(path);
      this.#paths.delete(path);
    }
    return taken;
  }
}
