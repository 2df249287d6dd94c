/**
 * The table of fresh files as a file in the state directory, which the preload library maps.
 *
 * It is written in place and never made shorter: a process that has a page mapped which is no longer
 * there would end. While the depot is a primary's, it says that it is not in use.
 *
 * @module
 */

import { type FreshnessPage, PAGE_BYTES } from "./freshness.ts";

/** Its name in the state directory. */
const FRESHNESS_FILE = "fresh";

/** p4d may run as another user. */
const MODE = 0o644;

/** See the module. */
export class FreshnessFile implements FreshnessPage {
  readonly #file: Deno.FsFile;
  readonly #onError: (error: unknown) => void;

  /**
   * Opens or makes it.
   * @param onError Told of a write that failed: then the file is asked about at each open.
   */
  constructor(stateDir: string, onError: (error: unknown) => void) {
    this.#onError = onError;
    const path = `${stateDir}/${FRESHNESS_FILE}`;
    this.#file = Deno.openSync(path, { read: true, write: true, create: true, mode: MODE });
    Deno.chmodSync(path, MODE); // whatever the umask
    if (this.#file.statSync().size < PAGE_BYTES) this.#file.truncateSync(PAGE_BYTES);
  }

  write(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    try {
      this.#file.seekSync(offset, Deno.SeekMode.Start);
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(this.#file.writeSync(rest));
    } catch (error) {
      this.#onError(error);
    }
  }

  close(): void {
    this.#file.close();
  }
}

/** Tells processes that still have the file mapped that no copy goes stale here: this is a primary. */
export function retireFreshness(stateDir: string): void {
  try {
    using file = Deno.openSync(`${stateDir}/${FRESHNESS_FILE}`, { write: true });
    file.writeSync(new Uint8Array(4));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
