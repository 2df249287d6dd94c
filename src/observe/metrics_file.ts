/**
 * The Prometheus textfile for node_exporter.
 *
 * @module
 */

import { expectReplaceable } from "../replaced_file.ts";

/** Readable by the collector, whatever the daemon's umask. */
const FILE_MODE = 0o644;

/**
 * How old the file may become while nothing happens, ms. To write it takes more than all else that an
 * idle daemon does, and all it would say is how time and the free space went on.
 */
const IDLE_MS = 10_000;

/** Whether the file is to be written again at an interval. */
export class WritePace {
  #state = "";
  #writtenMs = -Infinity;

  /**
   * @param state Everything that a change of is told at once.
   * @param isBusy Figures change with time.
   */
  isDue(state: string, isBusy: boolean, nowMs: number): boolean {
    if (state === this.#state && !isBusy && nowMs - this.#writtenMs < IDLE_MS) return false;
    this.#state = state;
    this.#writtenMs = nowMs;
    return true;
  }

  /** The write failed: the next one is due. */
  failed(): void {
    this.#state = "";
  }
}

/**
 * Writes the file so that a reader sees the old content or the new one, never a part.
 * @throws Error of the file system; nothing is left beside the file then.
 */
export async function writeMetricsFile(path: string, text: string): Promise<void> {
  // The collector reads only `*.prom`. A link that somebody laid at this name is not followed.
  const temporary = `${path}.${Deno.pid}.tmp`;
  expectReplaceable(path);
  try {
    await writeNew(temporary, text);
    await Deno.chmod(temporary, FILE_MODE);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

async function writeNew(path: string, text: string): Promise<void> {
  try {
    await Deno.writeTextFile(path, text, { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    await Deno.remove(path); // left by a crash
    await Deno.writeTextFile(path, text, { createNew: true });
  }
}
