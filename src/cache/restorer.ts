/**
 * Brings evicted files back: fetched, verified, and placed whole.
 *
 * - One restore per path, however many ask.
 * - "Not found" only when the file was deleted here, or every backend said that it has no such object
 *   (P3). An error of any backend is an error.
 * - The file appears with one link(2), after its digest agreed, and never over another file (P2). What a
 *   power cut leaves of it is known by a mark that was made before (`restore_marks.ts`).
 * - One that is being evicted is waited for, under the name that its directory has by now.
 * - Its directory is opened before the events up to then are taken in: renamed earlier, that is known
 *   then; renamed later, the file appears under the new name.
 *
 * The storage is asked while events from before the request may still be on their way; both are waited for
 * before anything is answered. What the storage said may be older than what an event tells then
 * (tests/cache/barrier_test.ts and directory_renames_test.ts force each):
 *   1. It has the object, and p4d had deleted the file, or renamed its directory away: the tombstone or the
 *      rename is known before the file is placed, and it is not.
 *   2. It has none, and p4d had just made the file, or moved it there: the last look at the disk finds it.
 *   3. It has none, and the directory had been renamed: the count of renames is another one by then, and
 *      the storage is asked again, for the object's old name.
 *   4. It has one, and another directory had come to the name: the count of renames is another one, or it
 *      is known what directory that is only after a search (`whereabouts`). The object is not placed.
 *   5. It has none, and the file was written, stored and evicted since: it came after the request, which
 *      found nothing on disk. That is what a program gets that opens a file just before it is made.
 *   6. It has none, and is asked for the same path again before that is answered, after a directory was
 *      renamed there, or after 5: "not found" is answered to the first one only.
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import { EDQUOT, EEXIST, ENOSPC } from "../../ffi/errno.ts";
import { type FileStat, isRegular } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import type { Version } from "../manifest/schema.ts";
import { restored, seen } from "../manifest/transitions.ts";
import { describeError } from "../observe/logging.ts";
import type { EventFeed } from "../observe/event_feed.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { FetchAnswer } from "../server/shim_server.ts";
import { type Backend, SLICE_BYTES, StorageError } from "../storage/backend.ts";
import type { Activity } from "./activity.ts";
import { isWrittenOnce } from "./archive_names.ts";
import { isNeverStored } from "./exclusion.ts";
import { type DepotPath, displayPath, pathProblem } from "../depot_path.ts";
import type { DirectoryRenames } from "./directory_renames.ts";
import type { Freshness } from "../cluster/freshness.ts";
import type { Fetched, ObjectFetcher } from "./object_fetch.ts";
import type { RestoreMarks } from "./restore_marks.ts";

/** Mode of a file whose object does not say (one that the C++ implementation stored). */
const DEFAULT_MODE = 0o644;

/** Parts the restorer works on. */
export interface RestorerParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly primary: Backend;
  readonly renames: DirectoryRenames;
  /** Asked when the primary has no object or fails. */
  readonly secondary: Backend | null;
  readonly readOnly: boolean;
  readonly isExcluded: (path: string) => boolean;
  readonly metrics: Metrics;
  readonly feed: EventFeed;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  /** Resolves when every event of the depot before the call has been taken in. */
  readonly upToDate: () => Promise<void>;
  /** Resolves when it is known which directory the path is in, whatever was renamed while nobody watched. */
  readonly whereabouts: (path: DepotPath) => Promise<void>;
  /** Whether the room that is left was given up for the manifest, which still waits for it. */
  readonly isRoomTaken: () => boolean;
  readonly fetcher: ObjectFetcher;
  readonly marks: Pick<RestoreMarks, "add" | "release">;
  /** Frees room for a file of so many bytes, whatever the watermarks say. */
  readonly makeRoom: (bytes: number) => Promise<void>;
  /** When a path was opened before, as far as it counts for eviction; seconds, 0: not known. */
  readonly previousAccess: (path: string) => number;
  /** Called when a file was placed. */
  readonly onRestored: () => void;
  /** Knows which copies are current; null where none goes stale. */
  readonly freshness: Pick<Freshness, "look"> | null;
  /**
   * Waits where a file that no backend has may be on its way to one; then whether to look again.
   * @param sinceMs When it was first asked for, as `performance.now` counts.
   */
  readonly mayComeSoon: (path: DepotPath, sinceMs: number) => Promise<boolean>;
}

/** See the module's description. */
export class Restorer {
  readonly #parts: RestorerParts;

  constructor(parts: RestorerParts) {
    this.#parts = parts;
  }

  /** Restores waiting or in flight. */
  get pending(): number {
    return this.#parts.fetcher.pending;
  }

  /** Gives up restores in flight after `timeoutMs`; their clients get an error. */
  async stop(timeoutMs: number): Promise<void> {
    const timer = setTimeout(() => this.#parts.fetcher.abort(), timeoutMs);
    await Promise.allSettled(this.#parts.activity.restores.values());
    clearTimeout(timer);
  }

  /** Answers a FETCH: makes sure that the file is there. Never throws. */
  async fetch(name: string): Promise<FetchAnswer> {
    const problem = pathProblem(name);
    if (problem !== null) return { kind: "error", why: problem };
    const path = name as DepotPath;
    try {
      // The first one that is joined may have begun before this request, the second one has not.
      for (let joined = 0; joined < 2; joined++) {
        const here = this.#local(path);
        if (here !== null) return { kind: "ok", size: here.size };
        const running = this.#parts.activity.restores.get(path) as Promise<FetchAnswer> | undefined;
        if (running === undefined) break;
        const answer = await running;
        if (answer.kind !== "notFound" || joined > 0) return answer;
      }
      return await this.#begin(path);
    } catch (error) {
      return { kind: "error", why: describeError(error) };
    }
  }

  /** A restore that others join. */
  #begin(path: DepotPath): Promise<FetchAnswer> {
    const { restores } = this.#parts.activity;
    const restore = this.#restore(path).finally(() => restores.delete(path));
    restores.set(path, restore);
    return restore;
  }

  #local(path: DepotPath): FileStat | null {
    return this.#parts.files.stat(path);
  }

  /** Waits for a file that is being evicted: it is gone, or back, in a moment. Then what is there. */
  async #evicted(path: DepotPath): Promise<FileStat | null> {
    const eviction = this.#parts.activity.evictions.get(path);
    if (eviction === undefined) return null;
    await eviction.done;
    return this.#local(path);
  }

  async #restore(path: DepotPath): Promise<FetchAnswer> {
    const { manifest, renames, metrics, feed, log } = this.#parts;
    const back = await this.#evicted(path);
    if (back !== null) return { kind: "ok", size: back.size };
    if (isNeverStored(path)) return { kind: "notFound" };
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1000;
    let parent: number | null = null;
    try {
      for (;;) {
        // Anew each time: another directory may have come to the name.
        if (parent !== null) this.#parts.files.closeFile(parent);
        parent = null;
        parent = this.#parts.files.openParent(path);
        // A delete or rename that p4d made just now may still be on its way to us.
        const upToDate = this.#parts.upToDate();
        const renamesSeen = renames.count;
        const isStill = () => renames.count === renamesSeen;
        const found = await renames.bring(path) && !manifest.isTombstoned(path)
          ? await this.#fromBackends(path, parent, upToDate, isStill)
          : null;
        if (found !== null) {
          metrics.restoreDone(true, found.size, seconds(), found.secondary);
          feed.note("restored", path, { bytes: found.size, seconds: seconds() });
          return { kind: "ok", size: found.size };
        }
        await upToDate;
        await this.#parts.whereabouts(path);
        const here = await this.#evicted(path) ?? this.#local(path);
        if (here !== null) return { kind: "ok", size: here.size };
        if (renames.count !== renamesSeen || await this.#parts.mayComeSoon(path, begun)) continue;
        return { kind: "notFound" };
      }
    } catch (error) {
      metrics.restoreDone(false, 0, seconds(), false);
      feed.note("restore_failed", path, { seconds: seconds(), why: describeError(error) });
      log.error(`Restore failed: ${displayPath(path)}: ${describeError(error)}`);
      throw error;
    } finally {
      if (parent !== null) this.#parts.files.closeFile(parent);
    }
  }

  /**
   * Restores from the first backend that has the object; null when all say there is none.
   *
   * Where the primary cannot say what it has, the secondary's may be an older version: p4d would go on from
   * that, and the next upload replace what was written since (P1). So only what is never rewritten comes
   * from there then; a replica, which writes nothing, takes what it gets.
   */
  async #fromBackends(
    path: DepotPath,
    parent: number | null,
    upToDate: Promise<void>,
    isStill: () => boolean,
  ): Promise<{ size: number; secondary: boolean } | null> {
    const { primary, secondary, metrics } = this.#parts;
    const failures: StorageError[] = [];
    for (const backend of secondary === null ? [primary] : [primary, secondary]) {
      if (failures.length > 0 && !this.#parts.readOnly && !isWrittenOnce(path)) break;
      const look = this.#parts.freshness?.look(path);
      try {
        const size = await this.#fetchAndPlace(path, parent, backend, upToDate, isStill);
        // Where one that comes first cannot be asked, what another one has may be older.
        if (failures.length === 0) look?.confirm();
        else look?.drop();
        return { size, secondary: backend === secondary };
      } catch (error) {
        look?.drop();
        if (!(error instanceof StorageError)) throw error;
        if (error.kind === "corrupt") metrics.checksumMismatch();
        if (error.kind !== "absent") failures.push(error);
      }
    }
    const [first, second] = failures;
    if (first === undefined) return null;
    if (second === undefined) throw first;
    throw new StorageError(first.kind, `${first.message}; ${second.message}`, { cause: first });
  }

  /** Two tries: a full disk is answered with one round of eviction, for the whole file. */
  async #fetchAndPlace(
    path: DepotPath,
    parent: number | null,
    backend: Backend,
    upToDate: Promise<void>,
    isStill: () => boolean,
  ): Promise<number> {
    const attempt = async () => {
      // Without the manifest nothing can be evicted: that goes first.
      if (this.#parts.isRoomTaken()) throw new FileError(ENOSPC, "place", displayPath(path));
      // An upload of a file that was removed since: its object may replace the one that is fetched.
      const isReplaced = this.#parts.activity.uploads.has(path);
      const fetched = await this.#parts.fetcher.fetch(path, backend);
      try {
        await upToDate;
        await this.#parts.whereabouts(path);
        // One that is on its way back there is found when it is placed.
        await this.#evicted(path);
        return this.#place(path, parent, fetched, isReplaced, isStill());
      } finally {
        if ("fd" in fetched.content) this.#parts.files.closeFile(fetched.content.fd);
      }
    };
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof FileError) || ![ENOSPC, EDQUOT].includes(error.errno)) throw error;
      const { size } = await backend.head(path, this.#parts.fetcher.signal);
      await this.#parts.makeRoom(size + 2 * SLICE_BYTES);
      return await attempt();
    }
  }

  /** Links the verified content at its path and records it; returns the size of what is there. */
  #place(
    path: DepotPath,
    parent: number | null,
    { info, digest, content }: Fetched,
    isReplaced: boolean,
    isStill: boolean,
  ): number {
    const { files, manifest, renames, marks } = this.#parts;
    // Below a directory that was renamed away: p4d will ask for the new path. Or another directory may
    // have come in its place: then what the storage has under its name was not looked for yet.
    if (!isStill || manifest.isTombstoned(path) || renames.isAway(path)) {
      throw new StorageError(
        "absent",
        `${displayPath(path)} was deleted or renamed while it was fetched`,
      );
    }
    const mode = info.mode ?? DEFAULT_MODE;
    const mtimeNs = info.mtimeNs ?? BigInt(Date.now()) * 1_000_000n;
    const mark = marks.add(path, { mtimeNs, digest });
    try {
      const placed = "fd" in content
        ? files.place(path, content.fd, mode, mtimeNs, parent)
        : files.placeSmall(path, content, mode, mtimeNs, parent);
      if (placed === null) {
        // Somebody wrote a newer file meanwhile: that one is the truth, and its event is on its way.
        const there = this.#local(path);
        if (there === null || !isRegular(there)) {
          throw new FileError(EEXIST, "place", displayPath(path));
        }
        return there.size;
      }
      this.#record(path, versionOf(placed, digest, info.etag), isReplaced);
      return placed.size;
    } finally {
      marks.release(mark);
    }
  }

  /** Says in the manifest what is at the path now. */
  #record(path: DepotPath, version: Version, isReplaced: boolean): void {
    const { manifest, activity, isExcluded, nowSeconds, onRestored, previousAccess } = this.#parts;
    const before = manifest.get(path);
    if (isExcluded(path)) {
      // Evicted before it was excluded: from now on it is left alone where it is.
      manifest.unsynced.note(path, version);
    } else if (isReplaced || before !== null || activity.uploads.has(path)) {
      // A file was here whose removal nobody saw yet. What the bucket has in the end may be that one.
      activity.touch(path);
      manifest.set(path, seen(before, version.size, nowSeconds()));
      manifest.unsynced.note(path, version);
    } else {
      manifest.set(path, restored(version, nowSeconds()), previousAccess(path));
    }
    onRestored();
  }
}

function versionOf({ size, mtimeNs, mode }: FileStat, digest: string, etag: string): Version {
  return { size, mtimeNs, mode: mode & 0o7777, digest, etag };
}
