/**
 * Reads the files of a backup, a slice in memory at a time, and compares them with its description.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type Backend, SLICE_BYTES, StorageError } from "../storage/backend.ts";
import { type Backup, pathOf } from "./backup_set.ts";

/**
 * Reads one file.
 * @param take Gets its bytes, in order.
 * @throws StorageError of kind corrupt when it is not the file that was described.
 */
export async function readBackupFile(
  place: Backend,
  { name, info }: Backup,
  file: string,
  take: (bytes: Uint8Array) => Promise<unknown> | void,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(name, file);
  const described = info.files.find((each) => each.name === file);
  if (described === undefined) {
    throw new StorageError(
      "absent",
      `Cannot read ${path} in ${place.label}: the backup has no such file`,
    );
  }
  const hash = createHash("sha256");
  let ifMatch: string | undefined;
  let at = 0;
  for (;;) {
    const options = ifMatch === undefined ? { signal } : { signal, ifMatch };
    const { info: { etag, size }, bytes } = await place.getRange(path, at, SLICE_BYTES, options);
    if (etag !== "") ifMatch = etag;
    hash.update(bytes);
    await take(bytes);
    at += bytes.length;
    if (at >= size || bytes.length === 0) break;
  }
  if (at === described.sizeBytes && hash.digest("hex") === described.sha256) return;
  throw new StorageError(
    "corrupt",
    `Cannot use ${path} in ${place.label}: it is not what backup.json describes`,
  );
}

/** Reads one file to a new local one. @throws as {@link readBackupFile}, and errors of the disk */
export async function fetchBackupFile(
  place: Backend,
  backup: Backup,
  file: string,
  to: string,
  signal: AbortSignal,
): Promise<void> {
  using target = await Deno.open(to, { write: true, createNew: true, mode: 0o644 });
  const take = async (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) at += await target.write(bytes.subarray(at));
  };
  await readBackupFile(place, backup, file, take, signal);
  await target.syncData();
}

/** Reads a backup whole. @returns What is wrong with it, a line each; errors of the way there are thrown. */
export async function verifyBackup(
  place: Backend,
  backup: Backup,
  signal: AbortSignal,
): Promise<string[]> {
  const problems: string[] = [];
  for (const { name } of backup.info.files) {
    try {
      await readBackupFile(place, backup, name, () => {}, signal);
    } catch (error) {
      const isWrong = error instanceof StorageError &&
        (error.kind === "corrupt" || error.kind === "absent");
      if (!isWrong) throw error;
      problems.push(error.message);
    }
  }
  return problems;
}
