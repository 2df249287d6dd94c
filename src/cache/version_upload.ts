/**
 * Uploads one version of a file, and records what became of it: clean when no event came for its path
 * since it was opened (P1), else dirty and put off for a while.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { EACCES, EPERM } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { uploaded } from "../manifest/transitions.ts";
import type { EngineMetrics } from "../observe/engine_metrics.ts";
import type { EventFeed } from "../observe/event_feed.ts";
import type { ConditionName, Health } from "../observe/health.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import type { Metrics } from "../observe/metrics.ts";
import { type Backend, type Content, StorageError } from "../storage/backend.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { MovedFiles } from "./moved_files.ts";
import type { PowerCut } from "./power_cut.ts";
import { LONGEST_DELAY_MS, LONGEST_UNREACHED_MS, type PutOffFiles } from "./put_off_files.ts";
import type { StoredBefore } from "./stored_before.ts";
import { FileBeingWritten, FileChanged, isNoFile, type LocalContent } from "./upload_content.ts";

/** Kinds of failure that say something about the backend, not about one file. */
const OF_THE_BACKEND: ReadonlySet<string> = new Set(["denied", "throttled", "transient"]);

/** Those of a backend that may take the next request. */
const UNREACHED: ReadonlySet<string> = new Set(["throttled", "transient"]);

/** Failures of one kind are told this often, ms. */
const REPEAT_MS = 60_000;

/** How long a failure of the disk counts as a condition of the daemon, ms: it is tried again sooner. */
const LOCAL_FAILURE_MS = 2 * LONGEST_DELAY_MS;

/** Parts that an upload works on. */
export interface VersionUploadParts {
  readonly manifest: Manifest;
  readonly backend: Backend;
  readonly moved: MovedFiles;
  readonly powerCut: Pick<PowerCut, "isOutdated">;
  readonly storedBefore: Pick<StoredBefore, "find">;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly engineMetrics: EngineMetrics;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  /** Resolves when every event so far has been taken in. */
  readonly upToDate: () => Promise<void>;
}

/** See the module's description. */
export class VersionUpload {
  readonly #parts: VersionUploadParts;
  readonly #mustWait: (path: DepotPath) => boolean;
  readonly #putOff: PutOffFiles;
  readonly #signal: AbortSignal;
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  /** Uploads that the backend failed or refused since the last that it took. */
  failuresInARow = 0;
  /** What it said then. */
  lastFailure = "";

  /**
   * @param mustWait Whether the file may not be uploaded now.
   * @param signal Abandons uploads; their files stay dirty.
   */
  constructor(
    parts: VersionUploadParts,
    mustWait: (path: DepotPath) => boolean,
    putOff: PutOffFiles,
    signal: AbortSignal,
  ) {
    this.#parts = parts;
    this.#mustWait = mustWait;
    this.#putOff = putOff;
    this.#signal = signal;
  }

  /**
   * Stores the file as it is when `open` gives it.
   * @param upload Says whether an event came for the path since.
   * @returns Whether a version was stored; never throws.
   */
  async upload(
    path: DepotPath,
    upload: { readonly changed: boolean },
    open: () => LocalContent | Promise<LocalContent>,
  ): Promise<boolean> {
    const { backend, powerCut, storedBefore, metrics, engineMetrics, feed } = this.#parts;
    const begun = performance.now();
    let content: LocalContent | null = null;
    try {
      content = await open();
      if (this.#mustWait(path)) throw new FileChanged();
      if (await powerCut.isOutdated(path, content, backend, this.#signal)) return false;
      const known = await storedBefore.find(path, content, backend, this.#signal);
      const etag = known ?? await this.#copied(path, content) ??
        (await backend.put(path, content, this.#signal)).etag;
      const seconds = (performance.now() - begun) / 1000;
      if (known === null) {
        metrics.uploadDone(true, content.size, seconds);
        feed.note("uploaded", path, { bytes: content.size, seconds });
      } else engineMetrics.uploadSpared();
      this.#putOff.forget(path);
      this.failuresInARow = 0;
      if (!upload.changed) this.#markClean(path, content, etag);
      return true;
    } catch (error) {
      await this.#failed(path, upload, error, (performance.now() - begun) / 1000);
      return false;
    } finally {
      content?.close?.();
    }
  }

  /** Stores the content by a copy on the server, where it is stored under another name; null if not. */
  async #copied(path: DepotPath, content: Content): Promise<string | null> {
    const { backend, moved, engineMetrics } = this.#parts;
    const etag = await moved.copy(path, content, backend, this.#signal);
    if (etag !== null) engineMetrics.objectCopied();
    return etag;
  }

  #markClean(path: DepotPath, content: Content, etag: string): void {
    const { manifest, nowSeconds } = this.#parts;
    this.#parts.moved.forget(path);
    const record = manifest.get(path);
    // Deleted meanwhile: its tombstone says that the object just stored is not it.
    if (record === null) return;
    const { size, mtimeNs, mode, digest } = content;
    manifest.set(path, uploaded(record, { size, mtimeNs, mode, digest, etag }, nowSeconds()));
  }

  async #failed(
    path: DepotPath,
    upload: { readonly changed: boolean },
    error: unknown,
    seconds: number,
  ): Promise<void> {
    const { metrics, manifest, health, log, upToDate } = this.#parts;
    if (error instanceof FileError && isNoFile(error.errno)) {
      // Not before its event, which records the delete; and not when another one came since: then a
      // newer file may be there, and is recorded.
      await upToDate();
      if (!upload.changed) manifest.set(path, null);
      return;
    }
    const kind = error instanceof StorageError ? error.kind : "local";
    this.#putOff.postpone(path, UNREACHED.has(kind) ? LONGEST_UNREACHED_MS : LONGEST_DELAY_MS);
    // A backend that was reading the content says so in its own words.
    const cause = error instanceof StorageError ? error.cause : error;
    if (cause instanceof FileChanged || cause instanceof FileBeingWritten) return;
    // Without the lease: what waits for it says so.
    if (this.#signal.aborted || kind === "fenced") return;
    metrics.uploadDone(false, 0, seconds);
    this.#parts.feed.note("upload_failed", path, { seconds, why: describeError(error) });
    const why = `${displayPath(path)}: ${describeError(error)}`;
    if (kind === "local") health.raise(conditionOf(error), `cannot read ${why}`, LOCAL_FAILURE_MS);
    if (OF_THE_BACKEND.has(kind)) {
      this.failuresInARow++;
      this.lastFailure = describeError(error);
    }
    const line = this.#limited(`Upload failed (${kind}), will be tried again`);
    if (line !== null) log.error(`${line}: ${why}`);
  }
}

/** What it says of the depot that a file of it cannot be read. */
export function conditionOf(error: unknown): ConditionName {
  const isDenied = error instanceof FileError && (error.errno === EACCES || error.errno === EPERM);
  return isDenied ? "depot_denied" : "depot_io";
}
