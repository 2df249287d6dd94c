/**
 * `p4-cache flush`: every dirty file is tried now, and the end waited for.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Uploader } from "../cache/uploader.ts";
import type { Manifest } from "../manifest/manifest.ts";

/** How often progress is told, ms. */
const TICK_MS = 200;

/** How a flush stands. */
export interface FlushState {
  readonly dirty: number;
}

/**
 * Tries what was put off at once, and tells how many files are still dirty until none is, or the
 * time is over.
 * @param timeoutMs Null: no limit; 0: do not wait.
 */
export async function* flush(
  uploader: Uploader,
  manifest: Manifest,
  timeoutMs: number | null,
  signal: AbortSignal,
): AsyncGenerator<FlushState, FlushState, void> {
  uploader.hurry();
  const deadlineMs = timeoutMs === null ? Infinity : Date.now() + timeoutMs;
  while (manifest.counters.dirty > 0 && Date.now() < deadlineMs && !signal.aborted) {
    yield { dirty: manifest.counters.dirty };
    await delay(Math.min(TICK_MS, deadlineMs - Date.now()));
  }
  // What was acknowledged is recorded too: a machine may be switched off after this.
  await manifest.commit();
  return { dirty: manifest.counters.dirty };
}
