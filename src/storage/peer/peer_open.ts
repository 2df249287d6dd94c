/**
 * From a peer's configuration to the backend.
 *
 * @module
 */

import type { PeerConfig } from "../../config/config.ts";
import { SecretFile } from "../../config/secret_file.ts";
import { type Backend, StorageError } from "../backend.ts";
import { PeerBackend } from "./peer_backend.ts";

/**
 * @param readers Who reads there through us; null: nobody can.
 * @throws StorageError when it cannot be used as configured.
 */
export function openPeer(
  config: PeerConfig,
  readers: (() => string) | null,
): Promise<Backend> {
  const file = config.tokenFile === null ? null : new SecretFile(config.tokenFile, "token_file");
  const token = () => {
    if (file === null) return config.token ?? "";
    try {
      return file.get();
    } catch (cause) {
      throw new StorageError("denied", (cause as Error).message, { cause });
    }
  };
  return PeerBackend.open({ ...config, token, readers });
}
