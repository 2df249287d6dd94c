/**
 * Totals of the manifest, and how they are saved with every transaction: with its number, so that the
 * writes of another program show.
 *
 * @module
 */

import { CLEAN, type FileRow, READABLE_FROM, SCHEMA } from "./schema.ts";

/** Totals kept up to date with every change, so that nothing ever counts rows. */
export interface Counters {
  total: number;
  dirty: number;
  /** Bytes of all tracked files. */
  bytes: number;
  /** Bytes of those that are not uploaded. */
  dirtyBytes: number;
}

/** Adds a file's row to the totals, or takes it away (-1). */
export function countRow(counters: Counters, row: FileRow, by: 1 | -1): void {
  counters.total += by;
  counters.bytes += by * row.size;
  if (row.state === CLEAN) return;
  counters.dirty += by;
  counters.dirtyBytes += by * row.size;
}

/** Adds files that became dirty together. */
export function countFound(
  counters: Counters,
  { count, totalBytes }: { readonly count: number; readonly totalBytes: number },
): void {
  counters.total += count;
  counters.dirty += count;
  counters.bytes += totalBytes;
  counters.dirtyBytes += totalBytes;
}

/** The totals as they were saved. */
export interface SavedCounters extends Counters {
  /** Number of the transaction that they were saved with. */
  readonly txn: string;
  readonly nextTrashId: number;
  /** See {@link Manifest.toldUntilNs}; an older version saved none. */
  readonly toldUntilNs: bigint | null;
}

/** Null where there are none, or none that can be read: then rows are recounted. */
export function parseCounters(bytes: Uint8Array | null): SavedCounters | null {
  if (bytes === null) return null;
  try {
    const saved = JSON.parse(new TextDecoder().decode(bytes));
    const toldUntilNs = saved.toldUntilNs === undefined ? null : BigInt(saved.toldUntilNs);
    return saved.dirtyBytes === undefined ? null : { ...saved, toldUntilNs };
  } catch {
    return null;
  }
}

/**
 * @param txn Number of the transaction that they are saved with.
 * @param toldUntilNs See {@link Manifest.toldUntilNs}.
 */
export function encodeCounters(
  counters: Counters,
  nextTrashId: number,
  txn: bigint,
  toldUntilNs: bigint | null,
): Uint8Array {
  const schema = { schema: SCHEMA, readableFrom: READABLE_FROM };
  const told = toldUntilNs === null ? {} : { toldUntilNs: toldUntilNs.toString() };
  const saved = { ...schema, txn: txn.toString(), ...counters, nextTrashId, ...told };
  return new TextEncoder().encode(JSON.stringify(saved));
}
