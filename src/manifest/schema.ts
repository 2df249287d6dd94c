/**
 * The manifest's bytes: what each database's keys and values look like (P7).
 *
 * Fixed by the C++ implementation, which opens the same environment (contract, "State directory"):
 *
 *     files        path                      size u64 | last access s u64 | created at s u64 |
 *                                            state u8 | storage key bytes          (little endian)
 *     dirty_queue  created at s u64 BE, path  empty      one entry for each file in state dirty
 *     evict_order  last access s u64 BE, path empty      one entry for each file in state clean
 *
 * Ours, in further databases that it leaves alone:
 *
 *     versions     path                      the version that is in the bucket (see Version)
 *     trash        trash id, decimal         path, NUL, its directory's identity: files an eviction has
 *                                            taken and not yet let go (directory_identities.ts)
 *     tombstones   path                      deleted at, u64 s | 1 where its object was removed too
 *     pins         path or directory + "/"   empty: never evicted
 *     unsettled    path                      u64 s: a request whose outcome nobody knows (unsettled.ts)
 *     renames      number, decimal           old directory, NUL, new one (directory_renames.ts)
 *     rename_search  path                    number of a tombstone (rename_search.ts)
 *     moved        path                      version, NUL-terminated old path: copied, not uploaded
 *     unsynced_0, unsynced_1  path           perhaps not on the platter: empty, or a version (unsynced.ts)
 *     restored     "since"                   u64 s: put back from a backup (restored_mark.ts)
 *     boot         "id", "cut"               the machine's boot, and the one after the latest power cut
 *     meta         "counters"                JSON: totals, so that a start counts no rows; the schema (migrations.ts)
 *                  "running"                 empty: there while a daemon runs, and after a crash
 *                  "told_depot"              the depot's directory, whose time is with the counters (unseen_changes.ts)
 *                  "known_since"             when the manifest was made, or another program wrote to it, ns
 *     evict_rank, previous               the order of eviction under lru2, see evict_ranks.ts
 *
 * Invariants (tests name them)
 * M1 Each row in state dirty or uploading has exactly one dirty_queue entry, each clean row exactly
 *    one evict_order entry, under the times in the row.
 * M2 A `versions` entry exists only for a clean row, and only for a version that was read whole,
 *    acknowledged by the backend, and not changed by any event since it was opened.
 * M3 A clean row without `versions` entry was written by the C++ implementation: it is uploaded
 *    again before it may be evicted.
 * M4 A path has a row or a tombstone, never both.
 * M5 Under lru2 each clean row has exactly one evict_rank entry, under the rank of its last access
 *    and its `previous` entry.
 *
 * @module
 */

/**
 * The schema that this program writes, and the oldest one whose programs may open what it wrote. A
 * further database that older programs may leave alone needs neither raised; what has to be made from
 * rows that are there needs a migration, see `migrations.ts`.
 */
export const SCHEMA = 1, READABLE_FROM = 1;

/** Key in `meta` of the totals and the schema. */
export const COUNTERS_KEY = "counters";

/** The databases of every depot; those of features that are not used by all come when they are. */
export const DATABASES: readonly string[] = [
  "files",
  "dirty_queue",
  "evict_order",
  "versions",
  "trash",
  "tombstones",
  "pins",
  "unsettled",
  "renames",
  "rename_search",
  "moved",
  "directory_paths",
  "directory_identities",
  "unsynced_0",
  "unsynced_1",
  "boot",
  "restored",
  "evict_rank",
  "previous",
];

/** States of a tracked file, as stored. "Uploading" is only ever read: ours lives in memory. */
export const DIRTY = 0, UPLOADING = 1, CLEAN = 2;

/** A value of `files`. Times are seconds since the epoch. */
export interface FileRow {
  readonly size: number;
  readonly lastAccess: number;
  readonly createdAt: number;
  readonly state: number;
}

/** What the bucket holds for a clean file, and what the file looked like when it was read. */
export interface Version {
  readonly size: number;
  readonly mtimeNs: bigint;
  /** Permission bits. */
  readonly mode: number;
  /** As `content_digest.ts` writes it; empty when the object carries none. */
  readonly digest: string;
  readonly etag: string;
}

/** What remains of a file that p4d deleted: its object is not it. */
export interface Tombstone {
  readonly deletedAtSeconds: number;
  /** Its object was removed from the primary too. */
  readonly collected: boolean;
  /** Its place among deletions and directory renames, which seconds do not tell apart; 0: before all. */
  readonly order: number;
}

/** Bytes of a tombstone; older ones are shorter, and end after the seconds or after `collected`. */
const TOMBSTONE_BYTES = 17;

const ROW_BYTES = 25;
const VERSION_FORMAT = 1;
const VERSION_BYTES = 1 + 8 + 8 + 4 + 2 + 2;

function writeText(text: string, bytes: Uint8Array, at: number): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

function readText(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes a number as u64: without BigInt, which costs ten times as much. */
function writeU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, value / 2 ** 32, true);
}

/** Encodes a row; `storageKey` is one character per byte. */
export function encodeRow(row: FileRow, storageKey: string): Uint8Array {
  const bytes = new Uint8Array(ROW_BYTES + storageKey.length);
  const view = viewOf(bytes);
  writeU64(view, 0, row.size);
  writeU64(view, 8, row.lastAccess);
  writeU64(view, 16, row.createdAt);
  bytes[24] = row.state;
  writeText(storageKey, bytes, ROW_BYTES);
  return bytes;
}

/** @throws Error when the value is not a row. */
export function decodeRow(bytes: Uint8Array): FileRow {
  if (bytes.length < ROW_BYTES || bytes[24]! > CLEAN) {
    throw new Error(`Cannot read a manifest row of ${bytes.length} bytes, state ${bytes[24]}`);
  }
  const view = viewOf(bytes);
  return {
    size: Number(view.getBigUint64(0, true)),
    lastAccess: Number(view.getBigUint64(8, true)),
    createdAt: Number(view.getBigUint64(16, true)),
    state: bytes[24]!,
  };
}

/** Key of `dirty_queue`, `evict_order` and `evict_rank`: big endian, so that byte order is time order. */
export function timeKey(seconds: number, path: string): string {
  const low = seconds >>> 0, high = Math.floor(seconds / 2 ** 32);
  return String.fromCharCode(
    high >>> 24,
    high >>> 16 & 0xff,
    high >>> 8 & 0xff,
    high & 0xff,
    low >>> 24,
    low >>> 16 & 0xff,
    low >>> 8 & 0xff,
    low & 0xff,
  ) + path;
}

/** Splits what {@link timeKey} made. @throws RangeError when the key is too short. */
export function splitTimeKey(key: string): { seconds: number; path: string } {
  if (key.length < 8) {
    throw new RangeError("Cannot read a key by time: it is shorter than the time");
  }
  let seconds = 0;
  for (let i = 0; i < 8; i++) seconds = seconds * 256 + key.charCodeAt(i);
  return { seconds, path: key.slice(8) };
}

/** What {@link decodeVersion} reads. */
export function encodeVersion(version: Version): Uint8Array {
  const { digest, etag } = version;
  const bytes = new Uint8Array(VERSION_BYTES + digest.length + etag.length);
  const view = viewOf(bytes);
  bytes[0] = VERSION_FORMAT;
  view.setBigUint64(1, BigInt(version.size), true);
  view.setBigInt64(9, version.mtimeNs, true);
  view.setUint32(17, version.mode, true);
  view.setUint16(21, digest.length, true);
  view.setUint16(23, etag.length, true);
  writeText(digest, bytes, VERSION_BYTES);
  writeText(etag, bytes, VERSION_BYTES + digest.length);
  return bytes;
}

/** @throws Error when the value is of another format. */
export function decodeVersion(bytes: Uint8Array): Version {
  if (bytes[0] !== VERSION_FORMAT || bytes.length < VERSION_BYTES) {
    throw new Error(`Cannot read a version entry of format ${bytes[0]}`);
  }
  const view = viewOf(bytes);
  const digestEnd = VERSION_BYTES + view.getUint16(21, true);
  return {
    size: Number(view.getBigUint64(1, true)),
    mtimeNs: view.getBigInt64(9, true),
    mode: view.getUint32(17, true),
    digest: readText(bytes.subarray(VERSION_BYTES, digestEnd)),
    etag: readText(bytes.subarray(digestEnd, digestEnd + view.getUint16(23, true))),
  };
}

/** What {@link decodeTombstone} reads. */
export function encodeTombstone({ deletedAtSeconds, collected, order }: Tombstone): Uint8Array {
  const bytes = new Uint8Array(TOMBSTONE_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(deletedAtSeconds), true);
  view.setUint8(8, collected ? 1 : 0);
  view.setBigUint64(9, BigInt(order), true);
  return bytes;
}

/** @throws RangeError when the value is too short. */
export function decodeTombstone(bytes: Uint8Array): Tombstone {
  return {
    deletedAtSeconds: Number(viewOf(bytes).getBigUint64(0, true)),
    collected: bytes[8] === 1,
    order: bytes.length < TOMBSTONE_BYTES ? 0 : Number(viewOf(bytes).getBigUint64(9, true)),
  };
}
