/**
 * The lanes on which dirty files go to the storage, once the uploader has chosen them.
 *
 * Small files are read and hashed many at a time or by threads, and as many are in flight as get more done
 * (adaptive_limit.ts). Large ones wait beside the queue for a lane of their own (large_lane.ts): neither
 * kind waits for the other.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { SmallRead } from "../../ffi/many.ts";
import type { DepotPath } from "../depot_path.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { SliceWork } from "../storage/file_transfer.ts";
import { PartBudget } from "../storage/part_budget.ts";
import type { Activity } from "./activity.ts";
import { AdaptiveLimit } from "./adaptive_limit.ts";
import { LargeLane } from "./large_lane.ts";
import { Semaphore } from "./semaphore.ts";
import { type LocalContent, openContent, smallContent } from "./upload_content.ts";
import type { VersionUpload } from "./version_upload.ts";

/** Files up to this size are small: they share a lane. */
export const SMALL_BYTES = 1024 * 1024;

/** Of those, files up to this size are read whole, many in one call; threads read the others. */
const READ_BYTES = 256 * 1024;

/** Memory for the contents of one batch of small files. */
export const BATCH_BYTES = 8 * 1024 * 1024;

/** Memory for the contents of all small files in flight (P5). */
const SMALL_MEMORY_BYTES = 8 * BATCH_BYTES;

/** A small file of the queue. */
export interface QueuedFile {
  readonly path: DepotPath;
  /** As its row says, bytes. */
  readonly size: number;
}

/** Parts the lanes work on, and their limits. */
export interface UploadLanesParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  /** Hashes the slices of large files. */
  readonly sliceWork: SliceWork;
  readonly activity: Activity;
  /** Small files in flight at once, to begin with. */
  readonly concurrency: number;
  /** The same when more get more done. */
  readonly maxConcurrency: number;
  /** Large files in flight at once, at most. */
  readonly largeConcurrency: number;
}

/** What the lanes ask and tell the uploader. */
export interface LaneOwner {
  /** Whether the file is to be uploaded now. */
  isDue(path: DepotPath): boolean;
  /** Whether no upload may begin for now. */
  isHeld(): boolean;
  /** A file was written while it was uploaded. */
  onChanged(path: DepotPath): void;
  /** The queue may have files that the lanes have room for. */
  onRoom(): void;
}

/** See the module's description. */
export class UploadLanes {
  readonly #parts: UploadLanesParts;
  readonly #versions: VersionUpload;
  readonly #owner: LaneOwner;
  readonly #small: Semaphore;
  readonly #smallLimit: AdaptiveLimit;
  readonly #large: LargeLane;
  /** Of small files. */
  readonly memory = new PartBudget(SMALL_MEMORY_BYTES);
  #stopping = false;

  constructor(parts: UploadLanesParts, versions: VersionUpload, owner: LaneOwner) {
    this.#parts = parts;
    this.#versions = versions;
    this.#owner = owner;
    this.#smallLimit = new AdaptiveLimit(() => ({
      min: parts.concurrency,
      max: parts.maxConcurrency,
    }));
    this.#small = new Semaphore(this.#smallLimit.value);
    this.#large = new LargeLane(() => parts.largeConcurrency);
  }

  /** Whether the file waits for the large lane, or is in flight. */
  has(path: DepotPath): boolean {
    return this.#parts.activity.uploads.has(path) || this.#large.has(path);
  }

  /** The backend asked to slow down. */
  throttled(): void {
    this.#smallLimit.throttled(performance.now());
    this.adjust();
  }

  /** Takes the limits as its parts give them now. */
  adjust(): void {
    this.#small.resize(this.#smallLimit.value);
    this.#large.adjust();
  }

  /** Begins no upload from now on. */
  stop(): void {
    this.#stopping = true;
  }

  /** Uploads the files, {@link BATCH_BYTES} together at most; resolves when the last one has begun. */
  async addBatch(batch: readonly QueuedFile[]): Promise<void> {
    const isRead = ({ size }: QueuedFile) => size <= READ_BYTES;
    await this.#addRead(batch.filter(isRead));
    for (const file of batch) if (!isRead(file)) await this.#addThreaded(file);
  }

  /** Uploads the file when the large lane has room for it. */
  addLarge(path: DepotPath): void {
    this.#large.add(path);
    this.#fillLargeLane();
  }

  /** Forgets the large files that wait: the queue has them still. */
  clearLarge(): void {
    this.#large.clear();
  }

  async #addThreaded({ path, size }: QueuedFile): Promise<void> {
    const { files, sliceWork } = this.#parts;
    const memory = await this.memory.take(size);
    await this.#small.acquire();
    if (this.#stopping || !this.#owner.isDue(path)) {
      this.#small.release();
      this.memory.give(memory);
      return;
    }
    const open = () => openContent(files, path, sliceWork);
    this.#launch(path, this.#small, open, () => this.memory.give(memory));
  }

  async #addRead(batch: readonly QueuedFile[]): Promise<void> {
    if (batch.length === 0) return;
    const { files, activity } = this.#parts;
    const paths = batch.map(({ path }) => path);
    const roomBytes = batch.reduce((sum, { size }) => sum + size, 0);
    const memory = await this.memory.take(roomBytes);
    // In flight from before the read: an event that comes between the two must be noticed.
    const uploads = paths.map(() => ({ changed: false }));
    for (const [i, path] of paths.entries()) activity.uploads.set(path, uploads[i]!);
    let reads: SmallRead[];
    try {
      reads = await files.readMany(paths, READ_BYTES, roomBytes);
    } catch (error) {
      for (const path of paths) activity.uploads.delete(path);
      this.memory.give(memory);
      throw error;
    }
    let left = paths.length;
    const onEnd = () => {
      if (--left === 0) this.memory.give(memory);
    };
    for (const [i, path] of paths.entries()) {
      const read = reads[i]!;
      if (read.kind === "large" || uploads[i]!.changed) {
        activity.uploads.delete(path);
        onEnd();
        // It grew since it was recorded; or it was written just now, and the queue has it again.
        if (read.kind === "large") this.addLarge(path);
        else this.#owner.onRoom();
        continue;
      }
      await this.#small.acquire();
      this.#launch(path, this.#small, () => smallContent(read), onEnd);
    }
  }

  #fillLargeLane(): void {
    const { files, sliceWork } = this.#parts;
    if (this.#stopping || this.#owner.isHeld()) this.#large.clear();
    const due = this.#large.next((path) => this.#owner.isDue(path));
    if (due === null) return;
    this.#launch(due, this.#large, () => openContent(files, due, sliceWork));
    this.#fillLargeLane();
  }

  /** Uploads in the lane, which the caller has acquired, without waiting for the end. */
  #launch(
    path: DepotPath,
    lane: Semaphore | LargeLane,
    open: () => LocalContent | Promise<LocalContent>,
    onEnd: () => void = () => {},
  ): void {
    const { activity } = this.#parts;
    const upload = activity.uploads.get(path) ?? { changed: false };
    activity.uploads.set(path, upload);
    void this.#versions.upload(path, upload, open).then((isStored) => {
      activity.uploads.delete(path);
      if (isStored && lane === this.#small) this.#adapt();
      lane.release();
      onEnd();
      if (upload.changed) this.#owner.onChanged(path);
      if (lane !== this.#large) return;
      this.#fillLargeLane();
      // The queue may have more large files than waited in memory.
      if (!lane.isFull) this.#owner.onRoom();
    });
  }

  /** A small file was stored. */
  #adapt(): void {
    const { activity, manifest } = this.#parts;
    const waiting = manifest.counters.dirty - activity.uploads.size;
    this.#smallLimit.done(waiting > 0, performance.now());
    this.#small.resize(this.#smallLimit.value);
  }
}
