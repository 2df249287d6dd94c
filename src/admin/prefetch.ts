/**
 * `p4-cache prefetch` and `restore`: brings files back before p4d asks for them.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { isRegular } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Restorer } from "../cache/restorer.ts";
import type { Backend } from "../storage/backend.ts";

/** How often progress is told, ms. */
const TICK_MS = 200;

/** Problems that are told one by one; the rest is only counted. */
const MAX_PROBLEMS = 100;

/** What a prefetch works with. */
export interface PrefetchParts {
  readonly files: DepotFiles;
  readonly restorer: Restorer;
  /** Lists what is below a directory. */
  readonly backend: Backend;
  /** Restores side by side. */
  readonly atOnce: number;
}

/** How far a prefetch is. */
export interface PrefetchState {
  /** Files that are on the disk now, those that were before included. */
  files: number;
  bytes: number;
  failed: number;
  /** What could not be brought back, and why. */
  problems: string[];
}

/**
 * Brings back each path: the file of that name, else all files below the directory of that name.
 * Restores run side by side; p4d's own requests are served between them.
 */
export async function* prefetch(
  parts: PrefetchParts,
  paths: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<PrefetchState, PrefetchState, void> {
  const state: PrefetchState = { files: 0, bytes: 0, failed: 0, problems: [] };
  const wanted = expand(parts, paths, state, signal);
  const worker = async () => {
    for (;;) {
      const next = await wanted.next();
      if (next.done || signal.aborted) return;
      await fetchOne(parts.restorer, next.value, state);
    }
  };
  const workers = Promise.all(Array.from({ length: parts.atOnce }, worker));
  let done = false;
  const ended = workers.finally(() => done = true);
  ended.catch(() => {}); // awaited below
  while (!done) {
    await Promise.race([ended, delay(TICK_MS)]);
    if (!done) yield state;
  }
  await ended;
  return state;
}

/** The files that the paths stand for. A generator serves its callers one after another. */
async function* expand(
  { restorer, files, backend }: PrefetchParts,
  paths: readonly string[],
  state: PrefetchState,
  signal: AbortSignal,
): AsyncGenerator<DepotPath, void, void> {
  for (const path of paths) {
    const here = path === "" ? null : files.stat(path);
    const isDirectory = path === "" || (here !== null && !isRegular(here));
    if (!isDirectory && await fetchOne(restorer, path, state)) continue;
    let found = false;
    for await (const object of backend.list(path === "" ? "" : path + "/", signal)) {
      found = true;
      yield object.path;
    }
    if (!found && !isDirectory) {
      problem(state, path, "no such file or directory, here or in storage");
    }
  }
}

/** Whether there is such a file; a failure to bring it back is noted. */
async function fetchOne(restorer: Restorer, path: string, state: PrefetchState): Promise<boolean> {
  const answer = await restorer.fetch(path);
  if (answer.kind === "notFound") return false;
  if (answer.kind === "error") {
    problem(state, path, answer.why);
  } else {
    state.files++;
    state.bytes += answer.size;
  }
  return true;
}

function problem(state: PrefetchState, path: string, why: string): void {
  state.failed++;
  if (state.problems.length < MAX_PROBLEMS) state.problems.push(`${displayPath(path)}: ${why}`);
}
