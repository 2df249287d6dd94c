/**
 * One bucket that many hosts write to and read from: slow, sometimes failing, with puts that take effect
 * after their sender has given them up.
 *
 * @module
 */

import type { DepotPath } from "../../../src/depot_path.ts";
import { FEED_DIR } from "../../../src/cluster/feed_format.ts";
import {
  type Content,
  type ObjectInfo,
  type PutCondition,
  StorageError,
} from "../../../src/storage/backend.ts";
import type { Random } from "../random.ts";
import type { Scheduler } from "../world/scheduler.ts";
import type { Host } from "./host.ts";

/** Longest way of a request to the storage or of its answer back, ms. */
const SLOW_MS = 500;

/** Longest time that the sending of a large file takes, and the reading of one, ms. */
const LARGE_MS = 20_000, SLOW_READ_MS = 8000;

/** A version of an object. */
export interface StoredVersion {
  readonly info: ObjectInfo;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Rises with each version of any object. */
  readonly number: number;
}

/** See the module. */
export class SharedBucket {
  readonly objects = new Map<string, StoredVersion>();
  /** One in so many requests fails, before or after it took effect; 0: none. */
  failureIn = 0;
  /** Told of each object that a host stores or removes. @param sentMs When it had been sent whole. */
  onStored: (host: Host, path: string, sentMs: number) => void = () => {};
  #versions = 0;

  /**
   * @param lateMs Longest time from when a request was sent whole to its effect, ms: the share of a lease's
   *   time that its holder leaves for this.
   */
  constructor(
    readonly scheduler: Scheduler,
    readonly random: Random,
    readonly lateMs: number,
  ) {}

  store(path: string, content: Content, bytes: Uint8Array<ArrayBuffer>): StoredVersion {
    const { size, digest, mode, mtimeNs } = content;
    const number = ++this.#versions;
    const version = { info: { size, digest, mode, mtimeNs, etag: `"${number}"` }, bytes, number };
    this.objects.set(path, version);
    return version;
  }
}

/** A host's way to the bucket. */
export class HostBackend {
  readonly label = "simulated:";
  readonly #bucket: SharedBucket;
  readonly #host: Host;

  constructor(bucket: SharedBucket, host: Host) {
    this.#bucket = bucket;
    this.#host = host;
  }

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const bytes = await content.read(0, content.size) as Uint8Array<ArrayBuffer>;
    const version = await this.#change(path, signal, () => {
      const there = this.#bucket.objects.get(path)?.info.etag;
      const isHeeded = condition === undefined || "ifAbsent" in condition
        ? condition === undefined || there === undefined
        : there === condition.ifMatch;
      if (!isHeeded) throw new StorageError("conflict", `Cannot store ${path}: it changed`);
      return this.#bucket.store(path, content, bytes);
    });
    return { etag: version.info.etag };
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    await this.#change(path, signal, () => this.#bucket.objects.delete(path));
  }

  async getRange(path: DepotPath, _at: number, _length: number, options: { signal: AbortSignal }) {
    await this.#travel(options.signal);
    const { info, bytes } = this.#version(path);
    await this.#travel(options.signal);
    return { info, bytes };
  }

  async getIfChanged(path: DepotPath, etag: string, length: number, signal: AbortSignal) {
    const answer = await this.getRange(path, 0, length, { signal });
    return answer.info.etag === etag ? null : answer;
  }

  /** The version that is there, as it is asked for. */
  async read(path: DepotPath, signal: AbortSignal): Promise<StoredVersion> {
    await this.#travel(signal);
    const version = this.#version(path);
    await this.#travel(signal, this.#bucket.random.oneIn(8) ? SLOW_READ_MS : 0);
    return version;
  }

  #version(path: string): StoredVersion {
    const version = this.#bucket.objects.get(path);
    if (version !== undefined) return version;
    throw new StorageError("absent", `Cannot read ${path}: no such object`);
  }

  /** Once it is sent whole, it takes effect whatever becomes of its sender. */
  async #change<T>(path: string, signal: AbortSignal, apply: () => T): Promise<T> {
    const { scheduler, random, lateMs } = this.#bucket;
    const isFile = !path.startsWith(".p4cache/");
    await this.#travel(signal, isFile && random.oneIn(8) ? LARGE_MS : 0);
    const sentMs = scheduler.nowMs;
    const isLate = random.oneIn(20) && !path.startsWith(FEED_DIR);
    const afterMs = random.fraction() * (isLate ? lateMs : 20);
    const { promise: done, resolve, reject } = Promise.withResolvers<T>();
    done.catch(() => {}); // nobody may be left to hear of it
    scheduler.setTimer(
      () => {
        try {
          const value = apply();
          this.#bucket.onStored(this.#host, path, sentMs);
          resolve(value);
        } catch (error) {
          reject(error);
        }
      },
      afterMs,
      false,
    );
    const value = await this.#host.orAborted(done, signal);
    await this.#travel(signal);
    return value;
  }

  /** One way. @throws StorageError transient when the network is cut, or a fault comes. */
  async #travel(signal: AbortSignal, longMs = 0): Promise<void> {
    const { random, failureIn } = this.#bucket;
    const mostMs = longMs > 0 ? longMs : random.oneIn(20) ? SLOW_MS : 20;
    await this.#host.orAborted(this.#host.pause(random.fraction() * mostMs), signal);
    if (signal.aborted) throw new StorageError("transient", "Cannot go on: stopped");
    if (!this.#host.isCut && !(failureIn > 0 && random.oneIn(failureIn))) return;
    throw new StorageError("transient", "Cannot reach the storage: simulated");
  }
}
