/**
 * What the daemon answers on the shim's socket, counted and timed.
 *
 * @module
 */

import { listDirectory } from "../cache/directory_listing.ts";
import { isNeverStored } from "../cache/exclusion.ts";
import type { Revalidator } from "../cluster/revalidator.ts";
import type { FetchAnswer, ShimRequests } from "../server/shim_server.ts";
import type { Backend } from "../storage/backend.ts";
import type { Engine } from "./engine.ts";

const RESULTS = { ok: "fetched", notFound: "not_found", error: "error" } as const;

/**
 * @param backends Where evicted files may be.
 * @param revalidator Null where no copy goes stale.
 */
export function shimRequests(
  engine: Engine,
  backends: readonly Backend[],
  revalidator: Revalidator | null,
): ShimRequests {
  const { restorer, remover, metrics } = engine;
  const listing = { ...engine, backends, isExcluded: isNeverStored };
  return {
    fetch: async (path): Promise<FetchAnswer> => {
      const begun = performance.now();
      const answer = await restorer.fetch(path);
      metrics.shimRequest(RESULTS[answer.kind], (performance.now() - begun) / 1000);
      return answer;
    },
    revalidate: (path) => revalidator === null ? restorer.fetch(path) : revalidator.check(path),
    unlink: (path) => remover.unlink(path),
    list: (dir) => listDirectory(listing, dir),
    dropped: (count) => metrics.accessesDropped(count),
  };
}
