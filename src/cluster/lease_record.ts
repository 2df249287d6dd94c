/**
 * The lease as it stands in the bucket: a small JSON object that people can read too.
 *
 *     {"holder": "…", "session": "…", "host": "depot1", "pid": 1234, "epoch": 3, "version": 17,
 *      "started": "2026-01-31T12:00:00.000Z", "ttl": 60, "waits": 0, "released": false}
 *
 * `holder` is the installation (`holder.ts`), `session` one run of its daemon. `epoch` is raised by each
 * run that takes the lease, `version` by each renewal.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type { Content } from "../storage/backend.ts";
import { bytesContent } from "../storage/bytes_content.ts";
import { RESERVED_KEYS } from "../storage/object_keys.ts";

/** Where it is, below the location's prefix. */
export const LEASE_PATH = `${RESERVED_KEYS}lease` as DepotPath;

/** Most bytes of the object that are looked at. */
export const MAX_LEASE_BYTES = 4096;

/** See the module. */
export interface LeaseRecord {
  readonly holder: string;
  readonly session: string;
  /** For people. */
  readonly host: string;
  readonly pid: number;
  readonly epoch: number;
  readonly version: number;
  /** When the session began, ISO 8601; for people: no decision looks at a wall clock. */
  readonly started: string;
  /** The lease is free when it was not renewed for so long, s. */
  readonly ttl: number;
  /** Its holder writes nothing yet: a daemon before it may go on for so long, s; 0: none can. */
  readonly waits: number;
  /** Its holder came to its end, and writes no more. */
  readonly released: boolean;
}

/** The record as content to be stored. @param nowMs Since the epoch. */
export function leaseContent(record: LeaseRecord, nowMs: number): Content {
  return bytesContent(new TextEncoder().encode(JSON.stringify(record) + "\n"), nowMs);
}

/**
 * Reads the object's bytes. What makes no sense counts as the lease of somebody unknown, so that it is
 * waited for, and not written over.
 * @param ttl For such a record, s.
 */
export function parseLease(bytes: Uint8Array, ttl: number): LeaseRecord {
  try {
    const record = JSON.parse(new TextDecoder().decode(bytes));
    const isLease = ["holder", "session", "host", "started"].every((key) =>
      typeof record[key] === "string"
    ) &&
      [record.pid, record.epoch, record.version, record.ttl, record.waits].every(
        Number.isSafeInteger,
      ) &&
      record.ttl > 0 && record.waits >= 0 && typeof record.released === "boolean";
    if (isLease) return record;
  } catch {
    // Not JSON.
  }
  const unknown = { holder: "", session: "", host: "an unknown host", pid: 0 };
  const started = "an unknown time";
  return { ...unknown, epoch: 0, version: 0, started, ttl, waits: 0, released: false };
}
