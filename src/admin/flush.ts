/**
 * `p4-cache flush`: every dirty file is tried now, and the end waited for.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Intake } from "../cache/intake.ts";
import type { Scanner } from "../cache/scanner.ts";
import type { Uploader } from "../cache/uploader.ts";
import type { Manifest } from "../manifest/manifest.ts";

/** How often progress is told, ms. */
const TICK_MS = 200;

/** How a flush stands. */
export interface FlushState {
  readonly dirty: number;
  /** Whether a walk goes on that may find more: at start, after lost events, in directories that came. */
  readonly searching: boolean;
}

/** What a flush works on. */
export interface FlushParts {
  readonly uploader: Uploader;
  readonly manifest: Manifest;
  readonly intake: Pick<Intake, "barrier">;
  readonly scanner: Pick<Scanner, "isSearching">;
}

/**
 * Tries what was put off at once, and tells how many files are still dirty until none is, or the
 * time is over. What was written before the call counts, also where its event is still on its way.
 * @param timeoutMs Null: no limit; 0: do not wait.
 */
export async function* flush(
  { uploader, manifest, intake, scanner }: FlushParts,
  timeoutMs: number | null,
  signal: AbortSignal,
): AsyncGenerator<FlushState, FlushState, void> {
  await intake.barrier();
  uploader.hurry();
  const deadlineMs = timeoutMs === null ? Infinity : Date.now() + timeoutMs;
  const state = () => ({ dirty: manifest.counters.dirty, searching: scanner.isSearching });
  const isOpen = ({ dirty, searching }: FlushState) => dirty > 0 || searching;
  while (isOpen(state()) && Date.now() < deadlineMs && !signal.aborted) {
    yield state();
    await delay(Math.min(TICK_MS, deadlineMs - Date.now()));
  }
  // What was acknowledged is recorded too: a machine may be switched off after this.
  await manifest.commit();
  return state();
}
