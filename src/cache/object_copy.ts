/**
 * Copies one object of the primary to another path: on the server, or, where only the secondary has it,
 * through this process.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { type Backend, nullIfAbsent, type ObjectInfo, StorageError } from "../storage/backend.ts";
import { remoteContent } from "../storage/remote_content.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";

/** What it works with. */
export interface CopyParts {
  readonly primary: Backend;
  readonly secondary: Backend | null;
  readonly log: Logger;
  readonly onCopied: () => void;
}

/**
 * Copies the object, unless there is none, or another one is in the way.
 * @param mayBeTaken Whether an object at the new path is one to keep.
 * @throws StorageError
 */
export async function copyObject(
  { primary, secondary, log, onCopied }: CopyParts,
  from: DepotPath,
  to: DepotPath,
  mayBeTaken: boolean,
  signal: AbortSignal,
): Promise<"copied" | "absent" | "taken"> {
  let source = await nullIfAbsent(primary.head(from, signal));
  const holder = source === null && secondary !== null ? secondary : primary;
  if (holder !== primary) source = await nullIfAbsent(holder.head(from, signal));
  if (source === null) return "absent";
  const there = mayBeTaken ? await nullIfAbsent(primary.head(to, signal)) : null;
  if (there !== null) {
    if (isCopy(source, there)) return "copied"; // by a daemon that ended before it was recorded
    log.warning(
      `${displayPath(from)} was renamed to ${
        displayPath(to)
      }, where ${primary.label} has another ` +
        `file: that one stays, and the renamed one is kept under its old name`,
    );
    return "taken";
  }
  if (holder === primary) await primary.copy(from, to, signal);
  else await primary.put(to, await remoteContent(holder, from, signal), signal);
  const copy = await nullIfAbsent(primary.head(to, signal));
  const isWhole = copy !== null && copy.size === source.size &&
    (source.digest === null || copy.digest === source.digest);
  if (!isWhole) {
    throw new StorageError(
      "corrupt",
      `Cannot copy ${displayPath(from)} to ${
        displayPath(to)
      }: ${primary.label} holds other content`,
    );
  }
  onCopied();
  return "copied";
}

/** Whether the object certainly holds what the source does. */
function isCopy(source: ObjectInfo, object: ObjectInfo): boolean {
  if (source.size !== object.size) return false;
  if (source.digest !== null) return source.digest === object.digest;
  return source.etag !== "" && source.etag === object.etag;
}
