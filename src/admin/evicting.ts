/**
 * `p4-cache evict`: files go because an operator says so, by the same steps that lose nothing.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Evictor } from "../cache/evictor.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { localFiles } from "./listing.ts";

/** Files that are tried at once. */
const BATCH = 256;

/** Files that stayed and are told one by one; the rest is only counted. */
const MAX_STAYED = 1000;

/** What is to go: files below paths, or the coldest files up to so many bytes. */
export type EvictWish =
  | { readonly paths: readonly string[] }
  | { readonly bytes: number };

/** How far an eviction is; of one that is dry: what it would do. */
export interface EvictState {
  readonly dryRun: boolean;
  evicted: number;
  bytes: number;
  stayed: number;
  /** Why single files stay. */
  reasons: { readonly path: string; readonly reason: string }[];
}

/** Evicts, or says what would go, and tells how far it is. */
export async function* evict(
  evictor: Evictor,
  manifest: Manifest,
  wish: EvictWish,
  dryRun: boolean,
  signal: AbortSignal,
): AsyncGenerator<EvictState, EvictState, void> {
  const state: EvictState = { dryRun, evicted: 0, bytes: 0, stayed: 0, reasons: [] };
  const wantedBytes = "bytes" in wish ? wish.bytes : Infinity;
  const paths = "bytes" in wish ? coldest(manifest) : below(manifest, wish.paths);
  for await (const batch of batches(paths)) {
    if (signal.aborted) break;
    const wanted = "bytes" in wish
      ? enough(evictor, manifest, batch, wantedBytes - state.bytes)
      : batch;
    const sizes = wanted.map((path) => manifest.get(path)?.row.size ?? 0);
    const reasons = dryRun
      ? wanted.map((path) => evictor.reasonToStay(path))
      : await evictor.evictOnly(wanted);
    for (const [i, path] of wanted.entries()) {
      const reason = reasons[i]!;
      if (reason === null) {
        state.evicted++;
        state.bytes += sizes[i]!;
        continue;
      }
      state.stayed++;
      if (state.reasons.length < MAX_STAYED) {
        state.reasons.push({ path: displayPath(path), reason });
      }
    }
    if (state.bytes >= wantedBytes) break;
    yield state;
  }
  return state;
}

/** Those of the batch that may go, until there are so many bytes. */
function enough(
  evictor: Evictor,
  manifest: Manifest,
  batch: readonly DepotPath[],
  bytes: number,
): DepotPath[] {
  const wanted: DepotPath[] = [];
  for (const path of batch) {
    if (bytes <= 0) break;
    if (evictor.reasonToStay(path) !== null) continue;
    wanted.push(path);
    bytes -= manifest.get(path)?.row.size ?? 0;
  }
  return wanted;
}

async function* coldest(manifest: Manifest): AsyncGenerator<DepotPath, void, void> {
  await manifest.commit();
  for (let after = "";;) {
    const page = await manifest.coldestAfter(after);
    if (page.length === 0) return;
    for (const { path } of page) yield path;
    after = page.at(-1)!.key;
  }
}

async function* below(
  manifest: Manifest,
  paths: readonly string[],
): AsyncGenerator<DepotPath, void, void> {
  for (const path of paths) yield* localFiles(manifest, path);
}

async function* batches(paths: AsyncIterable<DepotPath>): AsyncGenerator<DepotPath[], void, void> {
  let batch: DepotPath[] = [];
  for await (const path of paths) {
    batch.push(path);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
