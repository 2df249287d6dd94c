/**
 * Compares the depot on disk with the manifest: at start, after lost events, for directories that
 * appeared, and now and then as a backstop.
 *
 * - A file the manifest does not know, or that is not the version it says is uploaded → dirty.
 * - A row whose file is not there → dropped, without a tombstone: nobody saw p4d delete it, so its
 *   object still stands for it (P3).
 *
 * @module
 */

import { type DepotFiles, isRegular } from "../../ffi/files.ts";
import type { WalkRecord } from "../../ffi/walk.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import { isVersion } from "../manifest/transitions.ts";
import { CLEAN } from "../manifest/schema.ts";
import { describeError } from "../observe/logging.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, displayPath } from "./depot_path.ts";
import type { Intake } from "./intake.ts";

/** Staged changes above which a walk waits for the manifest (P5). */
const MAX_PENDING = 20_000;

/** Wait before a reconcile that was asked for begins: a burst of reasons becomes one walk, ms. */
const RECONCILE_DELAY_MS = 200;

/** What a walk found. */
export interface ScanResult {
  files: number;
  /** Became dirty. */
  changed: number;
  /** Rows dropped. */
  dropped: number;
  problems: number;
}

/** Parts the scanner works on. */
export interface ScannerParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly isExcluded: (path: string) => boolean;
  readonly intake: Intake;
  readonly log: Logger;
}

/** See the module's description. */
export class Scanner {
  readonly #parts: ScannerParts;
  #reconcile: Promise<void> | null = null;
  #again = false;
  #stopped = false;
  /** Walks of directories that appeared, one after another. */
  #trees: Promise<void> = Promise.resolve();

  constructor(parts: ScannerParts) {
    this.#parts = parts;
  }

  /** Ends running walks at their next step, and waits for that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([this.#trees, this.#reconcile]);
  }

  /** Walks everything soon, because of what the reason says; repeats join a waiting walk. */
  requestReconcile(reason: string): void {
    if (this.#reconcile !== null) {
      this.#again = true;
      return;
    }
    const { log } = this.#parts;
    log.warning(`Comparing the whole depot with the manifest: ${reason}`);
    this.#reconcile = (async () => {
      do {
        this.#again = false;
        await new Promise((resolve) => setTimeout(resolve, RECONCILE_DELAY_MS));
        await this.scanAll();
      } while (this.#again && !this.#stopped);
    })().catch((error) => log.error(`The comparison failed: ${describeError(error)}`))
      .finally(() => this.#reconcile = null);
  }

  /** Walks the depot, then looks for rows without a file. */
  async scanAll(): Promise<ScanResult> {
    const result = await this.#walk("" as DepotPath);
    if (!this.#stopped) await this.#dropMissing(result);
    return result;
  }

  /** Walks a directory that appeared, soon: the events after its own do not wait for that. */
  requestTree(dir: DepotPath): void {
    this.#trees = this.#trees.then(() => this.scanTree(dir)).catch((error) => {
      this.#parts.log.error(`Cannot walk ${displayPath(dir)}: ${describeError(error)}`);
      this.requestReconcile("a directory that appeared could not be walked");
    });
  }

  /** Walks one directory that appeared. */
  async scanTree(dir: DepotPath): Promise<void> {
    if (!this.#stopped && !this.#parts.isExcluded(dir + "/")) await this.#walk(dir);
  }

  async #walk(start: DepotPath): Promise<ScanResult> {
    const { files, manifest, isExcluded, intake, log } = this.#parts;
    const result: ScanResult = { files: 0, changed: 0, dropped: 0, problems: 0 };
    const walk = files.walk(start);
    try {
      for (;;) {
        const records = await walk.next();
        if (records === null || this.#stopped) break;
        for (const record of records) {
          if (record.kind === "problem") {
            result.problems++;
            log.warning(`Cannot look at ${displayPath(record.path)}: errno ${record.errno}`);
          }
          if (record.kind !== "file" || isExcluded(record.path)) continue;
          result.files++;
          if (this.#isKnown(record)) continue;
          // Looked at again: what the walk saw may have been deleted, and recorded so, since.
          const there = files.stat(record.path);
          if (there === null || !isRegular(there)) continue;
          result.changed++;
          intake.changed(record.path, there.size);
        }
        if (manifest.pending > MAX_PENDING) await manifest.commit();
      }
    } finally {
      walk.close();
    }
    return result;
  }

  #isKnown({ path, size, mtimeNs, mode }: WalkRecord): boolean {
    const record = this.#parts.manifest.get(path);
    if (record === null) return false;
    if (record.row.state !== CLEAN) return record.row.size === size;
    // No version: the C++ implementation's row; verified before it is evicted (M3).
    if (record.version === null) return record.row.size === size;
    return isVersion(record.version, size, mtimeNs, mode);
  }

  async #dropMissing(result: ScanResult): Promise<void> {
    const { files, manifest, activity } = this.#parts;
    for (let after = "";;) {
      const paths = await manifest.pathsAfter(after);
      if (paths.length === 0 || this.#stopped) return;
      const stats = await files.statMany(paths);
      for (const [i, path] of paths.entries()) {
        if (stats[i] !== null) continue;
        if (activity.evictions.has(path) || activity.restores.has(path)) continue;
        // Looked at again, now that nothing can come between the look and the change.
        if (manifest.get(path) === null || files.stat(path) !== null) continue;
        activity.touch(path);
        manifest.set(path, null);
        result.dropped++;
      }
      after = paths.at(-1)!;
      if (manifest.pending > MAX_PENDING) await manifest.commit();
    }
  }
}
