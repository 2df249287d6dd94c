/**
 * What is served over HTTP where `http_listen` is set:
 *
 *   /health   liveness: 200 as long as the daemon answers, with its state and what is wrong
 *   /ready    200 while p4d's requests are served and the state is not failing, else 503
 *   /metrics  Prometheus' text format
 *   /status   the same as `p4-cache status --json`
 *   /         a page for people
 *
 * A daemon that is degraded still serves warm files: to restart it would only add to the damage. So
 * liveness does not depend on its state.
 *
 * @module
 */

import { readAsset } from "../assets.ts";
import type { Pages } from "../server/http_server.ts";
import { readStatus, type Status, type StatusParts } from "./status.ts";

/** The pages of the running daemon. @param isServing Whether requests of the shim are answered. */
export function httpPages(parts: StatusParts, isServing: () => boolean): Pages {
  const health = ({ state, degraded }: Status) => ({ state, degraded });
  return {
    "/": () => html(readAsset("dashboard.html")),
    "/health": async () => Response.json(health(await readStatus(parts))),
    "/ready": async () => {
      const status = await readStatus(parts);
      const ready = isServing() && status.state !== "failing";
      return Response.json({ ready, ...health(status) }, { status: ready ? 200 : 503 });
    },
    "/metrics": async () =>
      new Response(await parts.metrics.text(), {
        headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
      }),
    "/status": async () => Response.json(await readStatus(parts)),
  };
}

function html(bytes: Uint8Array<ArrayBuffer>): Response {
  return new Response(bytes, { headers: { "content-type": "text/html; charset=utf-8" } });
}
