/**
 * Removes unfinished objects that a daemon which died left in the archive's temporary directory.
 *
 * @module
 */

import { FileError } from "../../../ffi/file_error.ts";
import { type ObjectFiles, TEMP_DIR } from "../../../ffi/nfs_object.ts";

/** No upload takes so long from its last write, ms: another daemon may be storing there too. */
export const STALE_MS = 24 * 3_600_000;

/**
 * Removes what nobody has written to for so long; what cannot be listed or removed stays.
 * @param root Descriptor of the archive directory.
 */
export async function sweepUnfinished(
  files: ObjectFiles,
  root: number,
  staleMs: number,
): Promise<void> {
  try {
    const before = BigInt(Date.now() - staleMs) * 1_000_000n;
    for (const { name, isDirectory, ctimeNs } of await files.list(root, TEMP_DIR)) {
      // Not mtime: it is set to the depot file's just before the object gets its name.
      // One that cannot be removed, or that its writer took away meanwhile, keeps no other one here.
      if (!isDirectory && ctimeNs <= before) await files.discard(root, name).catch(() => {});
    }
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
  }
}
