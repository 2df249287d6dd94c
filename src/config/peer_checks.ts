/**
 * What must fit together in the settings about peers: daemons that read one another's depots.
 *
 * @module
 */

import { ConfigError } from "../errors.ts";
import type { Config, PeerConfig } from "./config.ts";
import { ROLES } from "./setting.ts";
import { parseListenAddress } from "./listen_address.ts";
import { requirePem } from "./pem_file.ts";
import { credentialPath, readSecret, type SecretFiles } from "./secret_file.ts";

/** Shortest token, characters: nobody guesses one of 128 bits, written in any way. */
const MIN_TOKEN = 16;

/** @throws ConfigError */
export function checkPeer(backend: PeerConfig, role: string): PeerConfig {
  const endpoint: string | null = backend.endpoint;
  if (endpoint === null || !/^https:\/\/[^/]+$/.test(endpoint)) {
    const what = endpoint === null ? "a peer without endpoint" : `${role}.endpoint '${endpoint}'`;
    throw new ConfigError(
      `Cannot use ${what}: allowed is https://host:port of a daemon with peer_listen`,
    );
  }
  if (backend.token !== null) {
    checkToken(backend.token, `${role}.token`);
    return backend;
  }
  throw new ConfigError(`Cannot use a peer without its token: give ${role}.token_file`);
}

function checkToken(token: string, from: string): void {
  if (token.length >= MIN_TOKEN) return;
  throw new ConfigError(
    `Cannot use ${from}: it is shorter than ${MIN_TOKEN} characters; 'openssl rand -hex 32' makes a good one`,
  );
}

/** Checks and completes the settings of `peer_listen`. @throws ConfigError */
export function settlePeerListen(
  values: Record<string, unknown>,
  env: (name: string) => string | undefined,
  files: SecretFiles,
): void {
  const config = values as unknown as Config;
  const { peerListen, peerCertPath, peerKeyPath, peerTokenFile } = config;
  for (const role of ROLES) {
    if (config[role]?.type !== "peer" || config.readOnly) continue;
    throw new ConfigError(
      `Cannot use ${role}.type peer without read_only: only replicas read from other daemons`,
    );
  }
  if (peerListen === null) return;
  if (parseListenAddress(peerListen)?.kind !== "tcp") {
    throw new ConfigError(`Cannot use peer_listen '${peerListen}': allowed is host:port`);
  }
  const needed = { peer_cert_path: peerCertPath, peer_key_path: peerKeyPath };
  for (const [key, path] of Object.entries({ ...needed, peer_token_file: peerTokenFile })) {
    if (path !== null) continue;
    throw new ConfigError(
      `Cannot use peer_listen without ${key}: peers are served over TLS, and to those with the token`,
    );
  }
  requirePem(peerCertPath!, "peer_cert_path", "certificate", files);
  requirePem(peerKeyPath!, "peer_key_path", "private key", files);
  const found = credentialPath(peerTokenFile!, "peer_token_file", env);
  checkToken(readSecret(found, "peer_token_file", files), "peer_token_file");
  values.peerTokenFile = found;
}
