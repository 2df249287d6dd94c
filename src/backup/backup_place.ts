/**
 * Opens the place where backups are kept as a backend of its own, whose paths are `<backup>/<file>`:
 * listing, integrity and retries are those of every storage.
 *
 * @module
 */

import type { BackendConfig } from "../config/config.ts";
import { EnvironmentError } from "../errors.ts";
import { exists } from "../exists.ts";
import type { Backend } from "../storage/backend.ts";
import { openBackend } from "../storage/open_backend.ts";
import { RetryingBackend } from "../storage/retrying.ts";

/**
 * Opens the place.
 * @param isWritten A directory that is missing is made.
 * @throws EnvironmentError when it cannot be used.
 */
export async function openPlace(config: BackendConfig, isWritten: boolean): Promise<Backend> {
  if (config.type === "nfs" && !isWritten && !exists(config.path)) {
    throw new EnvironmentError(
      `Cannot find a backup: ${config.path} does not exist; 'p4-cache backup' makes the first one`,
    );
  }
  try {
    if (config.type === "nfs" && isWritten) {
      Deno.mkdirSync(config.path, { recursive: true, mode: 0o700 });
    }
    return new RetryingBackend(await openBackend(config));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EnvironmentError(`Cannot use the place of the backups: ${why}`);
  }
}
