/**
 * What `p4-cache run` serves over HTTP for all its depots: the pages of a single daemon, in one place.
 *
 * @module
 */

import { deadline } from "deno-std/async/deadline.js";
import type { Status } from "../admin/status.ts";
import type { Pages } from "../server/http_server.ts";
import { askDaemon } from "./control_client.ts";
import { mergeMetrics } from "./run_metrics.ts";
import type { DepotProcess, DepotState } from "./run_depot.ts";

/** Longest wait for one daemon, ms. */
const ASK_MS = 5000;

/** How one depot is. */
export interface DepotStatus {
  readonly name: string;
  readonly state: DepotState;
  /** Why it failed last; empty when it did not. */
  readonly why: string;
  readonly restarts: number;
  /** As `p4-cache status --json` says it; null while it does not answer. */
  readonly status: Status | null;
}

/** The pages over the depots that are there when one is asked for. */
export function runPages(depots: () => readonly DepotProcess[]): Pages {
  const ask = async <Answer>(depot: DepotProcess, route: string): Promise<Answer | null> => {
    if (depot.state !== "serving" || depot.config === null) return null;
    try {
      return await deadline(askDaemon<Answer>(depot.config.depotPath, route), ASK_MS);
    } catch {
      return null; // its state says more
    }
  };
  const brief = () => depots().map(({ name, state, why }) => ({ name, state, why }));
  const isReady = () =>
    depots().every(({ state, report }) => state === "serving" && report?.state !== "failing");
  return {
    "/health": () => Response.json({ depots: brief() }),
    "/ready": () => {
      const ready = isReady();
      return Response.json({ ready, depots: brief() }, { status: ready ? 200 : 503 });
    },
    "/metrics": async () => {
      const texts = await Promise.all(depots().map((depot) => ask<string>(depot, "metrics")));
      const own = ownMetrics(depots());
      const text = mergeMetrics([own, ...texts.filter((each) => each !== null)]);
      return new Response(text, {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      });
    },
    "/status": async () => {
      const all = depots().map(async (depot): Promise<DepotStatus> => {
        const { name, state, why, restarts } = depot;
        return { name, state, why, restarts, status: await ask<Status>(depot, "status") };
      });
      return Response.json(await Promise.all(all));
    },
  };
}

function ownMetrics(depots: readonly DepotProcess[]): string {
  const family = (name: string, type: string, help: string, value: (d: DepotProcess) => number) =>
    `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n` +
    depots.map((depot) => `${name}{name=${JSON.stringify(depot.name)}} ${value(depot)}\n`).join("");
  return family(
    "p4cache_run_serving",
    "gauge",
    "Whether the depot's daemon serves",
    ({ state }) => Number(state === "serving"),
  ) + family(
    "p4cache_run_restarts_total",
    "counter",
    "Starts of the depot's daemon after the first",
    ({ restarts }) => restarts,
  );
}
