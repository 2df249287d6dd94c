/**
 * The file state machine, pure: a tracked file's record and what happened to it give its next
 * record. The daemon and the simulation drive the same functions.
 *
 *     (none) ── seen ──▶ dirty ── uploaded ──▶ clean ── evicted ──▶ (none)
 *                          ▲                     │
 *                          └──────── seen ───────┘        deleted: any ──▶ (none)
 *
 * A record is clean only through {@link uploaded} or {@link restored}; every write event makes it
 * dirty again, whatever it looks like (two writes in one clock tick can leave size and mtime equal).
 *
 * @module
 */

import { CLEAN, DIRTY, type FileRow, type Version } from "./schema.ts";

/** The permission bits of a mode, without the type of file. */
const PERMISSIONS = 0o7777;

/** What the manifest knows of one path. */
export interface FileRecord {
  readonly row: FileRow;
  /** Set only where the row is clean (invariant M2); null there means "never verified" (M3). */
  readonly version: Version | null;
}

/** A write, creation or rename was seen, or the scan found the file unknown or changed. */
export function seen(before: FileRecord | null, size: number, nowSeconds: number): FileRecord {
  if (before !== null && before.row.state !== CLEAN) {
    // Keeps its place in the queue: a file rewritten again and again must not starve.
    return { row: { ...before.row, size, state: DIRTY }, version: null };
  }
  return {
    row: { size, lastAccess: nowSeconds, createdAt: nowSeconds, state: DIRTY },
    version: null,
  };
}

/** The version was read whole, stored, and no event came for the path since it was opened. */
export function uploaded(before: FileRecord, version: Version, nowSeconds: number): FileRecord {
  return {
    row: { ...before.row, size: version.size, lastAccess: nowSeconds, state: CLEAN },
    version,
  };
}

/** A verified copy was placed where no file was. */
export function restored(version: Version, nowSeconds: number): FileRecord {
  return {
    row: { size: version.size, lastAccess: nowSeconds, createdAt: nowSeconds, state: CLEAN },
    version,
  };
}

/** The file was read. */
export function accessed(before: FileRecord, nowSeconds: number): FileRecord {
  return { row: { ...before.row, lastAccess: nowSeconds }, version: before.version };
}

/**
 * Whether the file as it is on disk still is the version in the bucket.
 * Not ctime or inode: both change when a depot is copied to another machine.
 */
export function isVersion(version: Version, size: number, mtimeNs: bigint, mode: number): boolean {
  return version.size === size && version.mtimeNs === mtimeNs &&
    version.mode === (mode & PERMISSIONS);
}
