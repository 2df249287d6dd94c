/**
 * `p4-cache invalidate`: a replica trusts its copies no longer, because an operator says so.
 *
 * Archives are compared with the storage at their next open, from this moment on. Every named copy also
 * goes from the disk where it may: revisions that are written once are never compared.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Evictor } from "../cache/evictor.ts";
import type { Freshness } from "../cluster/freshness.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { localFiles } from "./listing.ts";

/** Copies that are dropped at once. */
const BATCH = 256;

/** Copies that stayed and are told one by one; the rest is only counted. */
const MAX_STAYED = 1000;

/** Which copies: those at or below paths, or those brought here since a moment. */
export type InvalidateWish =
  | { readonly paths: readonly string[] }
  | { readonly sinceSeconds: number };

/** How far it is. */
export interface InvalidateState {
  dropped: number;
  /** Still on the disk: archives of these are compared at their next open. */
  stayed: number;
  /** Why single ones stayed. */
  reasons: { readonly path: string; readonly reason: string }[];
}

/** Invalidates copies, and tells how far it is. */
export async function* invalidate(
  { manifest, evictor, freshness }: {
    readonly manifest: Manifest;
    readonly evictor: Evictor;
    readonly freshness: Pick<Freshness, "forget">;
  },
  wish: InvalidateWish,
  signal: AbortSignal,
): AsyncGenerator<InvalidateState, InvalidateState, void> {
  const state: InvalidateState = { dropped: 0, stayed: 0, reasons: [] };
  // Also what is not recorded: files that p4d itself wrote.
  if ("paths" in wish) { for (const path of wish.paths) freshness.forget(path as DepotPath); }
  let batch: DepotPath[] = [];
  const drop = async () => {
    const reasons = await evictor.evictOnly(batch);
    for (const [i, path] of batch.entries()) {
      const reason = reasons[i]!;
      if (reason === null) {
        state.dropped++;
        continue;
      }
      state.stayed++;
      if (state.reasons.length < MAX_STAYED) {
        state.reasons.push({ path: displayPath(path), reason });
      }
    }
    batch = [];
  };
  for await (const path of wanted(manifest, wish)) {
    if (signal.aborted) break;
    freshness.forget(path);
    batch.push(path);
    if (batch.length < BATCH) continue;
    await drop();
    yield state;
  }
  if (batch.length > 0) await drop();
  return state;
}

async function* wanted(
  manifest: Manifest,
  wish: InvalidateWish,
): AsyncGenerator<DepotPath, void, void> {
  if ("paths" in wish) {
    for (const path of wish.paths) yield* localFiles(manifest, path);
    return;
  }
  for await (const path of localFiles(manifest, "")) {
    const row = manifest.get(path)?.row;
    if (row !== undefined && row.createdAt >= wish.sinceSeconds) yield path;
  }
}
