/**
 * From a backend's configuration to the versions that its place keeps.
 *
 * @module
 */

import type { BackendConfig } from "../config/config.ts";
import { EnvironmentError } from "../errors.ts";
import type { History } from "./history.ts";

/**
 * Opens it.
 * @throws EnvironmentError for a directory, which keeps none; StorageError
 */
export async function openHistory(config: BackendConfig): Promise<History> {
  switch (config.type) {
    case "nfs":
      throw new EnvironmentError(
        `Cannot go back in time in nfs:${config.path}: a directory keeps no versions; look into the ` +
          "snapshots of its filesystem",
      );
    case "peer":
      throw new EnvironmentError("Cannot go back in time at a peer: it keeps no versions");
    case "s3": {
      const { openS3 } = await import("./s3/s3_open.ts");
      return (await openS3(config)).history();
    }
    case "azure": {
      const { openAzure } = await import("./azure/azure_open.ts");
      return (await openAzure(config)).history();
    }
    case "gcs": {
      const { openGcs } = await import("./gcs/gcs_open.ts");
      return (await openGcs(config)).history();
    }
  }
}
