/**
 * `p4-cache drain`: an operator's hold on eviction, which outlives a restart of the daemon.
 *
 * @module
 */

import type { Evictor } from "../cache/evictor.ts";

/** The hold, and the file below the state directory that remembers it. */
export class Maintenance {
  readonly #path: string;
  readonly #evictor: Evictor;

  /** @param stateDir Absolute path of the state directory. A hold that was in force still is. */
  constructor(stateDir: string, evictor: Evictor) {
    this.#path = `${stateDir}/drained`;
    this.#evictor = evictor;
    try {
      evictor.hold(Deno.readTextFileSync(this.#path).trim());
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Holds eviction for the reason, or lets it go on with null. */
  hold(because: string | null): void {
    if (because !== null) {
      Deno.writeTextFileSync(this.#path, because + "\n");
    } else {
      try {
        Deno.removeSync(this.#path);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    this.#evictor.hold(because);
  }
}
