/**
 * Lets other daemons read this depot, where that is configured.
 *
 * @module
 */

import { readHolder } from "../cluster/holder.ts";
import { PeerDepot } from "../cluster/peer_depot.ts";
import { PeerReaders } from "../cluster/peer_readers.ts";
import type { Config } from "../config/config.ts";
import { parseListenAddress } from "../config/listen_address.ts";
import { SecretFile } from "../config/secret_file.ts";
import { createRepeatLimiter, describeError, getLog } from "../observe/logging.ts";
import { PeerMetrics } from "../observe/peer_metrics.ts";
import { PeerServer } from "../server/peer_server.ts";
import type { FetchAnswer } from "../server/shim_server.ts";
import type { Backend } from "../storage/backend.ts";
import { RateGate } from "../storage/rate_gate.ts";
import type { Engine } from "./engine.ts";

/** Longest wait of a request that came too early, ms. */
const WAIT_MS = 2000;

/** Failures are told this often, ms. */
const REPEAT_MS = 60_000;

/** Null where nobody can read from here. @throws EnvironmentError when the state cannot be written. */
export function openReaders({ peerListen }: Config, stateDir: string): PeerReaders | null {
  if (peerListen === null) return null;
  return new PeerReaders(readHolder(stateDir), () => performance.now());
}

/**
 * Null where it is off.
 * @param bring Makes sure that a file is here, and current.
 * @throws EnvironmentError when it cannot listen there.
 */
export function openPeerServer(
  config: Config,
  { files, manifest, metrics }: Engine,
  backends: readonly Backend[],
  bring: (path: string) => Promise<FetchAnswer>,
  readers: PeerReaders | null,
): PeerServer | null {
  const { peerListen, peerCertPath, peerKeyPath, peerTokenFile } = config;
  const address = peerListen === null ? null : parseListenAddress(peerListen);
  if (address?.kind !== "tcp" || readers === null) return null;
  const log = getLog("peer");
  const limited = createRepeatLimiter(REPEAT_MS);
  const counts = new PeerMetrics(metrics.registry);
  const token = new SecretFile(peerTokenFile!, "peer_token_file");
  const certificate = {
    cert: Deno.readTextFileSync(peerCertPath!),
    key: Deno.readTextFileSync(peerKeyPath!),
  };
  const server = new PeerServer(address, certificate, {
    objects: new PeerDepot({ files, manifest, backends, bring }),
    token: () => token.get(),
    admits: (given) => {
      if (readers.admits(given)) return true;
      const line = limited("Refused a peer that this daemon reads from, itself or through others");
      if (line !== null) log.warning(`${line}: peers must not read in a circle`);
      return false;
    },
    gate: new RateGate(() => config.peerMaxRequestsPerSecond),
    waitMs: WAIT_MS,
    onResult: (result, bytes) => counts.ended(result, bytes),
    onError: (error) => {
      const line = limited("A peer could not be served");
      if (line !== null) log.warning(`${line}: ${describeError(error)}`);
    },
  });
  log.info(`Peers may read this depot at https://${address.host}:${server.port}/`);
  return server;
}
