/**
 * Syncs the depot's filesystem now and then, and drops the notes of files that were not known to be on the
 * platter. Restored files are not synced one by one: that would cost each of them a wait for the disk.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import { describeError } from "../observe/logging.ts";

/** Time between two syncs while files become clean, ms: as long as the kernel itself waits to write. */
const INTERVAL_MS = 30_000;

/** Parts it works on. */
export interface PlatterSyncParts {
  readonly files: Pick<DepotFiles, "sync">;
  readonly manifest: Manifest;
  readonly log: Logger;
}

/** See the module's description. */
export class PlatterSync {
  readonly #parts: PlatterSyncParts;
  #timer: number | null = null;
  #running: Promise<boolean> | null = null;

  constructor(parts: PlatterSyncParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.sync().finally(() => this.#running = null);
    }, INTERVAL_MS);
  }

  /** Syncs once more; whether everything is on the platter then. */
  async stop(): Promise<boolean> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#running;
    return await this.sync();
  }

  /** Syncs, if anything is noted. Never throws; false when it failed. */
  async sync(): Promise<boolean> {
    const { files, manifest, log } = this.#parts;
    const { unsynced } = manifest;
    if (!unsynced.any) return true;
    try {
      unsynced.turn();
      await files.sync();
      unsynced.forget();
      return true;
    } catch (error) {
      log.error(`Cannot sync the depot's filesystem: ${describeError(error)}`);
      return false;
    }
  }
}
