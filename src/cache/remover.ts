/**
 * Deletes evicted files: nothing is there to unlink, so the kernel tells nobody, and the shim asks for
 * it. The delete is a tombstone, durable before the answer; the object stays, as with any delete.
 *
 * What may happen at the same time, and why the file does not come back:
 * - An eviction or a restore of the path is in flight: it is waited for, then looked at anew. A restore
 *   that began before the tombstone would place the file after it.
 * - A file is written at the path: it is seen there, and is the client's to unlink; or its event comes
 *   after the tombstone and takes that back, as it must.
 * - Its directory was renamed away when nobody could see it: the search for that is waited for. Else the
 *   tombstone would be of the file that is under the new name now.
 * - Between the last look and the tombstone nothing else runs: both are in one turn of the event loop.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { describeError } from "../observe/logging.ts";
import type { UnlinkAnswer } from "../server/shim_server.ts";
import { type Backend, StorageError } from "../storage/backend.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, pathProblem } from "../depot_path.ts";
import type { DirectoryIdentities } from "./directory_identities.ts";
import type { DirectoryRenames } from "./directory_renames.ts";
import type { Intake } from "./intake.ts";

/** Parts the remover works on. */
export interface RemoverParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly renames: DirectoryRenames;
  readonly identities: Pick<DirectoryIdentities, "settled">;
  /** Where the file may be. */
  readonly backends: readonly Backend[];
  readonly isExcluded: (path: string) => boolean;
  /** A replica deletes nothing. */
  readonly readOnly: boolean;
}

/** See the module's description. */
export class Remover {
  readonly #parts: RemoverParts;

  constructor(parts: RemoverParts) {
    this.#parts = parts;
  }

  /** Answers an UNLINK. Never throws. */
  async unlink(name: string): Promise<UnlinkAnswer> {
    const problem = pathProblem(name);
    if (problem !== null) return { kind: "error", why: problem };
    try {
      return await this.#unlink(name as DepotPath);
    } catch (error) {
      return { kind: "error", why: describeError(error) };
    }
  }

  async #unlink(path: DepotPath): Promise<UnlinkAnswer> {
    const { files, manifest, activity, intake, renames, identities } = this.#parts;
    const { isExcluded, readOnly } = this.#parts;
    await this.#settled(path);
    if (files.stat(path) !== null) return { kind: "local" };
    // A delete of a moment ago counts: what is removed twice was there only once.
    await intake.barrier();
    await identities.settled();
    if (isExcluded(path)) return { kind: "notFound" };
    // What was deleted at the name before may have made room for a renamed directory's file.
    const mayBeThere = await renames.bring(path) && !manifest.isTombstoned(path);
    if (!mayBeThere || !await this.#isStored(path)) return { kind: "notFound" };
    if (readOnly) return { kind: "error", why: "read-only: a replica deletes nothing" };
    while (activity.evictions.has(path) || activity.restores.has(path)) await this.#settled(path);
    if (files.stat(path) !== null) return { kind: "local" };
    if (manifest.isTombstoned(path)) return { kind: "notFound" };
    intake.removed(path);
    await manifest.commit();
    return { kind: "deleted" };
  }

  /** Resolves when what is in flight for the path now has ended, one way or the other. */
  async #settled(path: DepotPath): Promise<void> {
    const { evictions, restores } = this.#parts.activity;
    await evictions.get(path)?.done;
    await restores.get(path)?.catch(() => {});
  }

  /** @throws StorageError when no backend has it and one cannot say (P3). */
  async #isStored(path: DepotPath): Promise<boolean> {
    let failure: unknown = null;
    for (const backend of this.#parts.backends) {
      try {
        await backend.head(path, new AbortController().signal);
        return true;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (error.kind !== "absent") failure ??= error;
      }
    }
    if (failure !== null) throw failure;
    return false;
  }
}
