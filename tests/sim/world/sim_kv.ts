/**
 * `ffi/kv.ts` in memory: what is committed survives the daemon, a transaction is whole or not there.
 *
 * @module
 */

import { EIO } from "../../../ffi/errno.ts";
import { FoundFiles, packFound } from "../../../ffi/found_files.ts";
import { type Doubt, type KvEntry, KvError, type WalkStep } from "../../../ffi/kv.ts";
import type { Walk, WalkRecord } from "../../../ffi/walk.ts";
import { isNeverStored } from "../../../src/cache/exclusion.ts";
import type { ManifestStore } from "../../../src/manifest/manifest.ts";
import {
  CLEAN,
  decodeRow,
  decodeVersion,
  encodeRow,
  timeKey,
} from "../../../src/manifest/schema.ts";
import { isVersion, seen } from "../../../src/manifest/transitions.ts";
import type { ProcessLife } from "./process.ts";
import type { Steps } from "./scheduler.ts";

/** Entries of one answer to a scan. */
const SCAN_ENTRIES = 5;

/** What is on the platter: databases by name, sorted keys by the scan. */
export interface Environment {
  readonly names: string[];
  readonly databases: Map<string, Uint8Array>[];
  lastTxn: bigint;
}

export function newEnvironment(): Environment {
  return { names: [], databases: [], lastTxn: 0n };
}

/** See the module. */
export class SimKv implements ManifestStore {
  /** One in so many commits fails; 0: none. */
  failureIn = 0;
  /** Called after each transaction. */
  onCommit: (environment: Environment) => void = () => {};
  readonly #life: ProcessLife;
  readonly #environment: Environment;

  constructor(life: ProcessLife, environment: Environment) {
    this.#life = life;
    this.#environment = environment;
  }

  prepare(): void {}

  database(name: string): number {
    const { names, databases } = this.#environment;
    const known = names.indexOf(name);
    if (known >= 0) return known;
    names.push(name);
    return databases.push(new Map()) - 1;
  }

  get(db: number, key: string): Uint8Array | null {
    return this.#life.call(() => this.#environment.databases[db]!.get(key) ?? null);
  }

  values(db: number, keys: readonly string[]): (Uint8Array | null)[] {
    const database = this.#environment.databases[db]!;
    return this.#life.call(() => keys.map((key) => database.get(key) ?? null));
  }

  holds(dbs: readonly number[], paths: readonly string[]): boolean[] {
    const { databases } = this.#environment;
    return this.#life.call(() => paths.map((path) => dbs.some((db) => databases[db]!.has(path))));
  }

  async compareNext(
    walk: Walk,
    files: number,
    versions: number,
    tombstones: number,
    doubt: Doubt | null,
  ): Promise<WalkStep> {
    const walked = await walk.next() ?? [];
    const isLast = walked.length === 0;
    const compared = this.#unlike(walked, files, versions, tombstones, doubt);
    const { records, found } = await this.#life.thread("compare", compared);
    const known = walked.length - records.length - found.count;
    return { known, records, found, isLast };
  }

  /** What `shim/helper/compare.c` sorts out, in one transaction. */
  *#unlike(
    walked: readonly WalkRecord[],
    files: number,
    versions: number,
    tombstones: number,
    doubt: Doubt | null,
  ): Steps<{ records: WalkRecord[]; found: FoundFiles }> {
    yield null;
    const { databases } = this.#environment;
    const isNew = ({ kind, path }: WalkRecord) =>
      kind === "file" && !databases[files]!.has(path) && !databases[tombstones]!.has(path) &&
      !isNeverStored(path);
    const found = walked.filter(isNew).sort((a, b) => a.path < b.path ? -1 : 1);
    const records = walked.filter((record) => !isNew(record)).filter(
      ({ path, size, mtimeNs, ctimeNs, mode }) => {
        const bytes = databases[files]!.get(path);
        if (bytes === undefined) return true;
        const row = decodeRow(bytes);
        const isDoubtful = doubt !== null && row.state === CLEAN && ctimeNs >= doubt.fromNs &&
          row.createdAt < doubt.untilSeconds;
        if (isDoubtful) return true;
        const version = row.state === CLEAN ? databases[versions]!.get(path) : undefined;
        if (version === undefined) return row.size !== size;
        return !isVersion(decodeVersion(version), size, mtimeNs, mode);
      },
    );
    yield null;
    return { records, found: packFound(found) };
  }

  copyTo(): Promise<void> {
    throw new Error("Cannot copy a simulated environment: no world makes backups");
  }

  /** Never full, and never given up. */
  trim(): Promise<void> {
    return Promise.resolve();
  }

  reopen(): Promise<void> {
    return Promise.resolve();
  }

  apply(batch: Uint8Array): Promise<bigint> {
    return this.#life.thread("commit", this.#applySteps(batch));
  }

  *#applySteps(batch: Uint8Array): Steps<bigint> {
    yield null;
    if (this.failureIn > 0 && this.#life.random.oneIn(this.failureIn)) {
      throw new KvError(-EIO, "Cannot write the LMDB environment: EIO");
    }
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    for (let at = 0; at < batch.length;) {
      const [op, db] = [batch[at]!, batch[at + 1]!];
      const keyEnd = at + 8 + view.getUint16(at + 2, true);
      const end = keyEnd + view.getUint32(at + 4, true);
      const key = String.fromCharCode(...batch.subarray(at + 8, keyEnd));
      const database = this.#environment.databases[db]!;
      if (op === 1) database.set(key, batch.slice(keyEnd, end));
      else if (op === 2) database.delete(key);
      else if (op === 4) this.#putFound(database, key, batch.slice(keyEnd, end));
      else database.clear();
      at = end;
    }
    const txn = ++this.#environment.lastTxn;
    this.onCommit(this.#environment);
    yield null;
    return txn;
  }

  /** What `shim/helper/found.c` does. */
  #putFound(files: Map<string, Uint8Array>, keyPrefix: string, value: Uint8Array<ArrayBuffer>) {
    const queue = this.#environment.databases[value[0]!]!;
    const seconds = Number(new DataView(value.buffer).getBigUint64(1, true));
    for (const { path, size } of new FoundFiles(value.slice(9)).records()) {
      files.set(path, encodeRow(seen(null, size, seconds).row, keyPrefix + path));
      queue.set(timeKey(seconds, path), new Uint8Array(0));
    }
  }

  scan(db: number, start: Uint8Array, inclusive: boolean): Promise<KvEntry[]> {
    return this.#life.thread("scan", this.#scanSteps(db, start, inclusive));
  }

  *#scanSteps(db: number, start: Uint8Array, inclusive: boolean): Steps<KvEntry[]> {
    yield null;
    const from = String.fromCharCode(...start);
    const database = this.#environment.databases[db]!;
    const keys = [...database.keys()].filter((key) => inclusive ? key >= from : key > from).sort();
    const entries = keys.slice(0, SCAN_ENTRIES).map((key) => ({
      key: Uint8Array.from(key, (c) => c.charCodeAt(0)),
      value: database.get(key)!,
    }));
    yield null;
    return entries;
  }

  info(db: number) {
    return this.#life.call(() => ({
      entries: this.#environment.databases[db]!.size,
      lastTxn: this.#environment.lastTxn,
      mapBytes: 1e9,
      usedBytes: 1e6,
      staleReaders: 0,
    }));
  }

  close(): void {}
}
