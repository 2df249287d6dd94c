/**
 * Metrics of what other daemons read here.
 *
 * @module
 */

import { Counter, type Registry } from "prom-client";
import type { PeerResult } from "../server/peer_server.ts";

const RESULTS: readonly PeerResult[] = [
  "served",
  "unchanged",
  "absent",
  "refused",
  "limited",
  "failed",
];

/** See the module. */
export class PeerMetrics {
  readonly #requests;
  readonly #bytes;

  constructor(registry: Registry) {
    this.#requests = new Counter({
      name: "p4cache_peer_requests_total",
      help: "Requests of other daemons, by result",
      labelNames: ["result"],
      registers: [registry],
    });
    for (const result of RESULTS) this.#requests.inc({ result }, 0);
    this.#bytes = new Counter({
      name: "p4cache_peer_bytes_total",
      help: "Bytes of files sent to other daemons",
      registers: [registry],
    });
  }

  ended(result: PeerResult, bytes: number): void {
    this.#requests.inc({ result });
    this.#bytes.inc(bytes);
  }
}
