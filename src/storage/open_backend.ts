/**
 * From a backend's configuration to the backend. Each type's code is loaded only when it is used.
 *
 * @module
 */

import type { BackendConfig } from "../config/config.ts";
import type { Backend } from "./backend.ts";

/**
 * Opens a backend, without retries; see {@link RetryingBackend}.
 * @param readers What a peer is told of who reads there through us; null: nobody can.
 * @throws StorageError when it cannot be used as configured.
 */
export async function openBackend(
  config: BackendConfig,
  readers: (() => string) | null = null,
): Promise<Backend> {
  switch (config.type) {
    case "nfs": {
      const { NfsBackend } = await import("./nfs/nfs_backend.ts");
      return await NfsBackend.open(config.path);
    }
    case "peer": {
      const { openPeer } = await import("./peer/peer_open.ts");
      return await openPeer(config, readers);
    }
    case "s3": {
      const { openS3 } = await import("./s3/s3_open.ts");
      return await openS3(config);
    }
    case "azure": {
      const { openAzure } = await import("./azure/azure_open.ts");
      return await openAzure(config);
    }
    case "gcs": {
      const { openGcs } = await import("./gcs/gcs_open.ts");
      return await openGcs(config);
    }
  }
}
