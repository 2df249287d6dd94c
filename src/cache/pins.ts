/**
 * Pins: files that eviction leaves alone, by exact path or by directory.
 *
 * Kept in a database of their own. A pin does not bring an evicted file back; it keeps what is there, and
 * what comes later.
 *
 * @module
 */

import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { type DepotPath, pathProblem } from "../depot_path.ts";

/** See the module's description. A pin that ends with "/" holds for all below that directory. */
export class Pins {
  readonly #table: Table;
  /** Whether there may be pins at all: without any, looking costs nothing. */
  #any: boolean;

  constructor(manifest: Manifest) {
    this.#table = manifest.table("pins");
    this.#any = this.#table.size() > 0;
  }

  /** Pins a file, or with "/" at its end a directory. @throws Error naming what is wrong with it. */
  add(pin: string): void {
    const problem = pathProblem(pin.replace(/\/$/, ""));
    if (problem !== null) throw new Error(`Cannot pin '${pin}': ${problem}`);
    this.#table.set(pin, new Uint8Array(0));
    this.#any = true;
  }

  /** Takes a pin back, as it was given; false when there is none. */
  remove(pin: string): boolean {
    if (this.#table.get(pin) === null) return false;
    this.#table.set(pin, null);
    return true;
  }

  /** Pins after the given one ("" begins), a page of them; none at the end. */
  async after(pin: string): Promise<string[]> {
    return (await this.#table.after(pin)).map(({ key }) => key);
  }

  /** Whether a pin holds for the file. */
  isPinned(path: DepotPath): boolean {
    if (!this.#any) return false;
    if (this.#table.get(path) !== null) return true;
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      if (this.#table.get(path.slice(0, at + 1)) !== null) return true;
    }
    return false;
  }
}
