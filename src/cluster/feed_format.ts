/**
 * The change feed as objects in the bucket, below the location's prefix:
 *
 *     .p4cache/changes/head                        JSON: how far the feed reaches; written anew
 *     .p4cache/changes/<epoch>-<sequence>          one JSON object a line: what changed; written once
 *
 * A writer has its own epoch, with sequence numbers from 1; a restart or another writer begins another
 * epoch. A record counts from when the head names it. Between epochs anything may have changed.
 *
 * Everything is found by its name: nothing is listed, and a follower that has nothing to learn makes one
 * conditional request.
 *
 * @module
 */

import * as v from "valibot";
import type { DepotPath } from "../depot_path.ts";
import { escapePath, RESERVED_KEYS, unescapePath } from "../storage/object_keys.ts";

/** Where the feed is. */
export const FEED_DIR = `${RESERVED_KEYS}changes/`;

/** The object that says how far it reaches. */
export const FEED_HEAD = `${FEED_DIR}head` as DepotPath;

/** Longest head or record, bytes. */
export const MAX_FEED_BYTES = 1024 * 1024;

/** Changes in one record at most: also with the longest names it stays below {@link MAX_FEED_BYTES}. */
export const MAX_RECORD_CHANGES = 128;

const EPOCH = v.pipe(v.string(), v.regex(/^[0-9a-z-]{1,64}$/));
const SEQUENCE = v.pipe(v.number(), v.integer(), v.minValue(0));

const RANGE = v.object({ epoch: EPOCH, first: SEQUENCE, last: SEQUENCE });
const HEAD = v.object({ ...RANGE.entries, beat: SEQUENCE, outdated: v.array(RANGE) });
const CHANGE = v.object({ path: v.string(), etag: v.string() });

/** Records of one epoch that are there. */
export type FeedRange = v.InferOutput<typeof RANGE>;

/**
 * How far the feed reaches. `beat` rises with each head, so that a feed without changes still differs
 * from one whose writer died. `outdated`: records of earlier epochs that are still to be removed.
 */
export type FeedHead = v.InferOutput<typeof HEAD>;

/** One changed object. */
export interface Change {
  readonly path: DepotPath;
  /** The version that is there now; empty when it was removed, or that is not known. */
  readonly etag: string;
}

/** The key of a record, as a path. @param sequence From 1. */
export function recordPath(epoch: string, sequence: number): DepotPath {
  return `${FEED_DIR}${epoch}-${String(sequence).padStart(12, "0")}` as DepotPath;
}

/** What {@link decodeHead} reads. */
export function encodeHead(head: FeedHead): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(head) + "\n");
}

/** @throws Error when it is no head. */
export function decodeHead(bytes: Uint8Array): FeedHead {
  return v.parse(HEAD, JSON.parse(new TextDecoder().decode(bytes)));
}

/** Paths are printable: what is not is written as `%XX`, and `%` as `%25`. */
export function encodeChanges(changes: readonly Change[]): Uint8Array {
  const line = ({ path, etag }: Change) => JSON.stringify({ path: escapePath(path), etag }) + "\n";
  return new TextEncoder().encode(changes.map(line).join(""));
}

/** @throws Error when one of the lines is no change. */
export function decodeChanges(bytes: Uint8Array): Change[] {
  const lines = new TextDecoder().decode(bytes).split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const { path, etag } = v.parse(CHANGE, JSON.parse(line));
    const plain = unescapePath(path);
    if (plain === null) throw new Error(`Cannot read the change feed: '${path}' is no path`);
    return { path: plain as DepotPath, etag };
  });
}
