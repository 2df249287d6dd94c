/**
 * What a crash, a power cut or another program left behind, brought into order before anything else runs.
 *
 * P1: nothing that is here is forgotten, and nothing that may be missing in the storage is called clean.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { DepotFiles } from "../../ffi/files.ts";
import { counted } from "../counted.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { TrashEntry } from "../manifest/trash_entries.ts";
import { recount } from "../manifest/recount.ts";
import { type Boot, PowerCut } from "./power_cut.ts";
import { RenameSearch } from "./rename_search.ts";
import { decodeMarks, MARKS_DIR } from "./restore_marks.ts";
import { noteUnknownPast } from "./stored_before.ts";
import { emptyTrash } from "./trash.ts";
import { noteCutOff } from "./unsettled.ts";

/** What a start finds. */
export interface Found {
  /** Names in the trash of the state directory. */
  readonly trashNames: readonly string[];
  /** Names in the directory of marks of restores. */
  readonly markNames: readonly string[];
  readonly boot: Boot;
}

/**
 * See the module's description.
 * @param findsRenames Files in the trash whose directories are not there wait until it is known where
 *   those are.
 * @returns Those files, by their names in the trash.
 * @throws KvError when the manifest cannot be read or written. FileError when the trash cannot be emptied.
 */
export async function recover(
  files: DepotFiles,
  manifest: Manifest,
  { trashNames, markNames, boot }: Found,
  log: Logger,
  findsRenames = false,
): Promise<Map<string, TrashEntry>> {
  if (manifest.needsRecount) {
    const cutOff = await recount(manifest);
    // A file may have been written at a deleted path, stored and evicted since: its object is all there is.
    manifest.forgetDeletions();
    log.info(
      `Another program wrote to the manifest: counted anew, ${counted(cutOff, "file")} to upload`,
    );
  }
  await noteUnknownPast(manifest, BigInt(Date.now()) * 1_000_000n);
  await manifest.settleOrder();
  // Else the search for renames ends that.
  if (!findsRenames) new RenameSearch(manifest).end();
  const left = await emptyTrash(files, manifest, trashNames, log, findsRenames);
  await new PowerCut({ files, manifest, log }).settle(boot, decodeMarks(markNames));
  await files.names(MARKS_DIR).remove(markNames);
  if (manifest.wasCutOff) await noteCutOff(manifest, Math.floor(Date.now() / 1000));
  await manifest.setRunning(true);
  return left;
}
