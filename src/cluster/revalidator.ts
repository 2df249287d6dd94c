/**
 * Keeps a replica's copies of archives current: at the open of one that was not looked at for a while, the
 * storage is asked whether it has another version, and the copy is replaced in one step (P2).
 *
 * - An open reader keeps the version that it has open.
 * - A wait is bounded; then, and where the storage cannot be asked, the copy that is here is served, and
 *   counted, unless that is forbidden.
 * - A file that is not the recorded version is p4d's own (`p4 pull` writes there). It is taken over where
 *   the storage holds the very same bytes, and else left alone.
 * - A crash between the replacement and its record leaves a file of that kind: it is taken over. What a
 *   power cut leaves of the replacement is known by its mark (`restore_marks.ts`).
 *
 * @module
 */

import { EEXIST } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import type { FileStat } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Activity } from "../cache/activity.ts";
import { isRewritten } from "../cache/archive_names.ts";
import { type DepotPath, displayPath, pathProblem } from "../depot_path.ts";
import { isNeverStored } from "../cache/exclusion.ts";
import {
  type Fetched,
  FIRST_BYTES,
  type ObjectFetcher,
  RESTORE_DIR,
} from "../cache/object_fetch.ts";
import type { RestoreMarks } from "../cache/restore_marks.ts";
import { FileBeingWritten, FileChanged, openContent } from "../cache/upload_content.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN, type Version } from "../manifest/schema.ts";
import { type FileRecord, isVersion, restored } from "../manifest/transitions.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import type { RevalidationResult } from "../observe/replica_metrics.ts";
import type { FetchAnswer } from "../server/shim_server.ts";
import { type Backend, type ObjectInfo, StorageError } from "../storage/backend.ts";
import type { Freshness, Look } from "./freshness.ts";

/** Mode of a file whose object does not say. */
const DEFAULT_MODE = 0o644;

/** After a failure the storage is not asked again for the path for so long, ms. */
const REST_MS = 5000;

/** Failures are told this often, ms. */
const REPEAT_MS = 60_000;

/** Parts the revalidator works on. */
export interface RevalidatorParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly freshness: Pick<Freshness, "isFresh" | "look">;
  readonly fetcher: ObjectFetcher;
  readonly marks: Pick<RestoreMarks, "add" | "release">;
  /** Restores what is not here. */
  readonly fetch: (path: string) => Promise<FetchAnswer>;
  /** In the order in which they are asked. */
  readonly backends: readonly Backend[];
  readonly log: Logger;
  readonly nowSeconds: () => number;
  /** Resolves after so many ms; what clears the wait is called when it is not needed any more. */
  readonly after: (ms: number) => { readonly done: Promise<void>; clear(): void };
  /** Longest wait for the storage's answer, ms. */
  readonly timeoutMs: number;
  /** Whether a copy that could not be revalidated is served. */
  readonly servesStale: boolean;
  readonly onResult: (result: RevalidationResult) => void;
}

/** See the module. */
export class Revalidator {
  readonly #parts: RevalidatorParts;
  readonly #running = new Map<DepotPath, Promise<RevalidationResult>>();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  #nextTemp = 0;

  constructor(parts: RevalidatorParts) {
    this.#parts = parts;
  }

  /** Looks at the storage under way. */
  get pending(): number {
    return this.#running.size;
  }

  /** Answers a REVALIDATE: the file is there, and as current as was promised. Never throws. */
  async check(name: string): Promise<FetchAnswer> {
    const problem = pathProblem(name);
    if (problem !== null) return { kind: "error", why: problem };
    const path = name as DepotPath;
    try {
      return await this.#check(path);
    } catch (error) {
      return { kind: "error", why: describeError(error) };
    }
  }

  /** Waits for what is under way; {@link ObjectFetcher.abort} ends it. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#running.values());
  }

  async #check(path: DepotPath): Promise<FetchAnswer> {
    const { files, activity, freshness, fetch, servesStale } = this.#parts;
    if (!isRewritten(path) || isNeverStored(path)) return await fetch(path);
    await activity.evictions.get(path)?.done;
    const here = files.stat(path);
    if (here === null) return await fetch(path);
    if (freshness.isFresh(path)) return { kind: "ok", size: here.size };
    const result = await this.#inTime(path);
    if (servesStale || (result !== "failed" && result !== "late")) {
      return { kind: "ok", size: files.stat(path)?.size ?? here.size };
    }
    return { kind: "error", why: "stale: the storage cannot say whether this copy is current" };
  }

  /** One look for all who ask; they wait for it together. */
  async #inTime(path: DepotPath): Promise<RevalidationResult> {
    const { after, timeoutMs, onResult } = this.#parts;
    const work = this.#running.get(path) ?? this.#begin(path);
    const timer = after(timeoutMs);
    const result = await Promise.race([work, timer.done.then(() => "late" as const)]);
    timer.clear();
    if (result === "late") onResult("late");
    return result;
  }

  #begin(path: DepotPath): Promise<RevalidationResult> {
    const { activity, files, onResult } = this.#parts;
    const work = this.#revalidate(path).finally(() => {
      this.#running.delete(path);
      activity.restores.delete(path);
    }).then((result) => {
      onResult(result);
      return result;
    });
    this.#running.set(path, work);
    // Keeps the evictor away, and serves whoever asks for the file as one that is being restored.
    const answer = async (): Promise<FetchAnswer> => {
      await work;
      const there = files.stat(path);
      return there === null ? { kind: "notFound" } : { kind: "ok", size: there.size };
    };
    activity.restores.set(path, answer());
    return work;
  }

  /** Never throws. */
  async #revalidate(path: DepotPath): Promise<RevalidationResult> {
    const look = this.#parts.freshness.look(path);
    try {
      return await this.#ask(path, look);
    } catch (error) {
      look.confirm(REST_MS);
      const line = this.#limited("Cannot revalidate, the copy here is served");
      const why = `${displayPath(path)}: ${describeError(error)}`;
      if (line !== null) this.#parts.log.warning(`${line}: ${why}`);
      return "failed";
    }
  }

  /** Asks the backends in turn; one that says there is none, or fails, is followed by the next. */
  async #ask(path: DepotPath, look: Look): Promise<RevalidationResult> {
    const { files, manifest, backends } = this.#parts;
    const record = manifest.get(path);
    const here = files.stat(path);
    const isOurs = here !== null && isRecorded(record, here);
    let failure: unknown = null;
    for (const backend of backends) {
      try {
        const result = isOurs
          ? await this.#compare(path, record!.version!, backend)
          : await this.#adopt(path, backend);
        look.confirm();
        return result;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        if (error.kind !== "absent") failure ??= error;
      }
    }
    if (failure !== null) throw failure;
    look.confirm();
    return isOurs ? "absent" : "local";
  }

  async #compare(path: DepotPath, version: Version, backend: Backend): Promise<RevalidationResult> {
    const { manifest, fetcher } = this.#parts;
    const { signal } = fetcher;
    const known: { info: ObjectInfo | null } = { info: null };
    const fetched = await fetcher.fetchFrom(path, backend, async () => {
      const answer = await backend.getIfChanged(path, version.etag, FIRST_BYTES, signal);
      if (answer === null || !isSame(version, answer.info)) return answer;
      known.info = answer.info;
      return null;
    });
    if (fetched !== null) return this.#replace(path, version, fetched);
    // The same content under another tag: another backend's, or stored again.
    const record = manifest.get(path);
    if (known.info !== null && isStillRecorded(record, version)) {
      manifest.set(path, { ...record, version: { ...version, etag: known.info.etag } });
    }
    return "unchanged";
  }

  /** Puts the new version in the copy's place, and what was there away: only if it still is the copy. */
  #replace(path: DepotPath, version: Version, fetched: Fetched): RevalidationResult {
    const { files, manifest, marks, nowSeconds, log } = this.#parts;
    const temp = `${RESTORE_DIR}/new-${this.#nextTemp++}`;
    const placed = this.#placeAside(temp, fetched);
    const mark = marks.add(path, { mtimeNs: placed.mtimeNs, digest: fetched.digest });
    try {
      if (!this.#isStill(path, version)) return "local";
      files.exchange(temp, path);
      if (!isFile(files.stat(temp), version)) {
        // p4d wrote the file in this moment: its own goes back.
        log.warning(`${displayPath(path)} was written here while it was revalidated; it stays`);
        files.exchange(temp, path);
        return "local";
      }
      const { size, mtimeNs, mode } = placed;
      const { digest, info: { etag } } = fetched;
      const next = { size, mtimeNs, mode: mode & 0o7777, digest, etag };
      const before = manifest.get(path)?.row;
      const record = restored(next, nowSeconds());
      const lastAccess = before?.lastAccess ?? record.row.lastAccess;
      manifest.set(path, { ...record, row: { ...record.row, lastAccess } });
      return "replaced";
    } finally {
      marks.release(mark);
      files.unlink(temp);
    }
  }

  #placeAside(temp: string, { info, content }: Fetched): FileStat {
    const { files } = this.#parts;
    const mode = info.mode ?? DEFAULT_MODE;
    const mtimeNs = info.mtimeNs ?? BigInt(Date.now()) * 1_000_000n;
    let placed: FileStat | null;
    try {
      placed = content instanceof Uint8Array
        ? files.placeSmall(temp, content, mode, mtimeNs)
        : files.place(temp, content.fd, mode, mtimeNs);
    } finally {
      if (!(content instanceof Uint8Array)) files.closeFile(content.fd);
    }
    if (placed === null) throw new FileError(EEXIST, "place", temp);
    return placed;
  }

  #isStill(path: DepotPath, version: Version): boolean {
    return isStillRecorded(this.#parts.manifest.get(path), version) &&
      isFile(this.#parts.files.stat(path), version);
  }

  /** Records a file that is not ours, where the storage holds the same bytes. */
  async #adopt(path: DepotPath, backend: Backend): Promise<RevalidationResult> {
    const { files, manifest, nowSeconds, fetcher } = this.#parts;
    const info = await backend.head(path, fetcher.signal);
    const here = files.stat(path);
    if (here === null || info.digest === null || info.size !== here.size) return "local";
    try {
      const content = await openContent(files, path);
      content.close?.();
      const { size, mtimeNs, mode, digest } = content;
      const there = files.stat(path);
      if (digest !== info.digest || there?.ctimeNs !== here.ctimeNs) return "local";
      const version = { size, mtimeNs, mode, digest, etag: info.etag };
      manifest.set(path, restored(version, nowSeconds()));
      return "unchanged";
    } catch (error) {
      if (error instanceof FileChanged || error instanceof FileBeingWritten) return "local";
      throw error;
    }
  }
}

/** Whether what is stored has the content and attributes of the version. */
function isSame(version: Version, info: ObjectInfo): boolean {
  return info.digest !== null && info.digest === version.digest && info.size === version.size &&
    (info.mtimeNs === null || info.mtimeNs === version.mtimeNs);
}

function isStillRecorded(record: FileRecord | null, version: Version): record is FileRecord {
  const now = record?.version ?? null;
  return now !== null && now.etag === version.etag && now.digest === version.digest &&
    now.size === version.size && now.mtimeNs === version.mtimeNs;
}

function isFile(file: FileStat | null, { size, mtimeNs, mode }: Version): boolean {
  return file !== null && file.size === size && file.mtimeNs === mtimeNs &&
    (file.mode & 0o7777) === mode;
}

function isRecorded(record: FileRecord | null, here: FileStat): boolean {
  return record !== null && record.row.state === CLEAN && record.version !== null &&
    isVersion(record.version, here.size, here.mtimeNs, here.mode);
}
