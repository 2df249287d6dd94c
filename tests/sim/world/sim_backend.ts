/**
 * Storage in the simulated world: slow, sometimes failing in each way the contract knows, and with
 * puts that take effect though the client heard of an error: minutes later, over newer objects.
 *
 * One thing it does not do: a put whose sender died, and whose file p4d removed before that, never takes
 * effect after a later daemon's start.
 *
 * @module
 */

import type { DepotPath } from "../../../src/depot_path.ts";
import { SETTLE_SECONDS } from "../../../src/cache/unsettled.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type ObjectInfo,
  type PutCondition,
  type RangeOptions,
  StorageError,
  type StorageErrorKind,
} from "../../../src/storage/backend.ts";
import { readContent, stopped } from "../../../src/storage/operation.ts";
import type { ProcessLife } from "./process.ts";
import type { Steps } from "./scheduler.ts";

/** One object. */
export interface StoredObject {
  readonly info: ObjectInfo;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A put whose bytes have been sent. */
interface Sent {
  readonly path: string;
  readonly object: StoredObject;
  /** Its sender died. */
  isOrphan: boolean;
}

/** Bytes of content asked for at once, as a multi-part put does. */
const PART = 8 * 1024 * 1024;

/** Longest time after which a put that was given up takes effect: less than the daemon reckons with. */
const LATE_MS = (SETTLE_SECONDS - 30) * 1000;

/** The same in a world without such answers. */
const SOON_MS = 20;

const KINDS: readonly StorageErrorKind[] = [
  "denied",
  "throttled",
  "transient",
  "transient",
  "permanent",
  "corrupt",
];

/** What the provider keeps; outlives the daemon. */
export class Bucket {
  readonly objects = new Map<string, StoredObject>();
  /** Told of each path whose object changed. */
  onChange: (path: string) => void = () => {};
  readonly #onTheWay = new Set<Sent>();
  #version = 0;

  send(path: string, info: Omit<ObjectInfo, "etag">, bytes: Uint8Array<ArrayBuffer>): Sent {
    const object = { info: { ...info, etag: `"${++this.#version}"` }, bytes };
    const sent = { path, object, isOrphan: false };
    this.#onTheWay.add(sent);
    return sent;
  }

  /** The put takes effect, whatever has been stored since. */
  land(sent: Sent): void {
    if (!this.#onTheWay.delete(sent)) return;
    this.objects.set(sent.path, sent.object);
    this.onChange(sent.path);
  }

  /** It never arrives. */
  drop(sent: Sent): void {
    this.#onTheWay.delete(sent);
  }

  /** A daemon starts: of the dead one's puts only those may still come that it can know of. */
  forget(isKnown: (path: string) => boolean): void {
    for (const sent of this.#onTheWay) if (sent.isOrphan && !isKnown(sent.path)) this.drop(sent);
  }

  get onTheWay(): Sent[] {
    return [...this.#onTheWay];
  }
}

/** The daemon's connection to it. */
export class SimBackend implements Backend {
  readonly label = "simulated:";
  /** One in so many requests fails; 0: none. */
  failureIn = 0;
  /** The answer to one in so many puts is lost. */
  answersLostIn = 0;
  /** Every request fails. */
  isDown = false;
  readonly #life: ProcessLife;
  readonly #bucket: Bucket;
  readonly #late = new WeakSet<Sent>();

  constructor(life: ProcessLife, bucket: Bucket) {
    this.#life = life;
    this.#bucket = bucket;
  }

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    await this.#request("put", path, signal);
    const bytes = new Uint8Array(content.size);
    for (let at = 0; at < bytes.length; at += PART) {
      const length = Math.min(PART, bytes.length - at);
      bytes.set(await readContent(content, at, length, `store ${path}`), at);
    }
    await this.#life.turn("put sent");
    if (
      condition !== undefined && condition.ifMatch !== this.#bucket.objects.get(path)?.info.etag
    ) {
      throw new StorageError("conflict", `Cannot store ${path}: another object is there`);
    }
    const { size, digest, mode, mtimeNs } = content;
    const sent = this.#bucket.send(path, { size, digest, mode, mtimeNs }, bytes);
    const { random } = this.#life;
    if (this.answersLostIn > 0 && random.oneIn(this.answersLostIn)) {
      this.#life.scheduler.note(`storage: put ${path}: answer lost`);
      this.#landLater(sent, LATE_MS);
      throw new StorageError("transient", `Cannot store ${path}: connection lost`);
    }
    await this.#life.turn("put lands");
    this.#bucket.land(sent);
    this.#life.counts.stored++;
    this.#life.scheduler.note(`storage: put ${path} ${describe(bytes)}`);
    await this.#life.turn("put answered");
    return { etag: sent.object.info.etag };
  }

  /** It may still take effect, or not. */
  #landLater(sent: Sent, atMostMs: number): void {
    const { random, scheduler } = this.#life;
    this.#late.add(sent);
    if (random.oneIn(3)) return this.#bucket.drop(sent);
    const bucket = this.#bucket;
    const atMs = scheduler.nowMs + random.fraction() * (random.oneIn(2) ? 20 : atMostMs);
    void scheduler.run(
      "storage",
      "late put",
      lateSteps(() => scheduler.nowMs >= atMs, () => {
        scheduler.note(`storage: late put ${sent.path} ${describe(sent.object.bytes)}`);
        bucket.land(sent);
      }),
    );
  }

  /** The daemon died: what it had sent may still take effect, soon. */
  died(): void {
    for (const sent of this.#bucket.onTheWay) {
      if (!sent.isOrphan && !this.#late.has(sent)) {
        sent.isOrphan = true;
        this.#landLater(sent, this.answersLostIn > 0 ? LATE_MS : SOON_MS);
      }
    }
  }

  async copy(from: DepotPath, to: DepotPath, signal: AbortSignal): Promise<{ etag: string }> {
    await this.#request("copy", to, signal);
    const { info, bytes } = this.#object(from);
    const sent = this.#bucket.send(to, info, bytes);
    this.#bucket.land(sent);
    await this.#life.turn("copy answered");
    return { etag: sent.object.info.etag };
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): Promise<{ info: ObjectInfo; bytes: Uint8Array<ArrayBuffer> }> {
    await this.#request("get", path, options.signal);
    const { info, bytes } = this.#object(path);
    if (options.ifMatch !== undefined && options.ifMatch !== info.etag) {
      throw new StorageError("corrupt", `Cannot read ${path}: it changed`);
    }
    const part = this.#spoil(bytes.slice(offset, offset + length));
    await this.#life.turn("get answered");
    return { info, bytes: part };
  }

  /** A broken machine on the way: bytes are lost or changed. */
  #spoil(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const { random } = this.#life;
    if (this.failureIn === 0 || !random.oneIn(this.failureIn) || bytes.length === 0) return bytes;
    if (random.oneIn(2)) return bytes.slice(0, random.below(bytes.length));
    const at = random.below(bytes.length);
    bytes[at] = bytes[at]! ^ 1;
    return bytes;
  }

  async getIfChanged(path: DepotPath, etag: string, length: number, signal: AbortSignal) {
    await this.#request("getIfChanged", path, signal);
    const { info, bytes } = this.#object(path);
    return info.etag === etag ? null : { info, bytes: bytes.slice(0, length) };
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    await this.#request("head", path, signal);
    return this.#object(path).info;
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    await this.#request("delete", path, signal);
    for (const sent of this.#bucket.onTheWay) if (sent.path === path) this.#bucket.drop(sent);
    this.#bucket.objects.delete(path);
    this.#bucket.onChange(path);
    await this.#life.turn("delete answered");
  }

  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    for (const path of [...this.#bucket.objects.keys()].sort()) {
      if (!path.startsWith(prefix) || path <= after) continue;
      await this.#request("list", path, signal);
      const object = this.#bucket.objects.get(path);
      if (object === undefined) continue;
      yield { path: path as DepotPath, size: object.info.size, etag: object.info.etag };
    }
  }

  async close(): Promise<void> {}

  async #request(doing: string, path: string, signal: AbortSignal): Promise<void> {
    await this.#life.turn(doing);
    if (signal.aborted) throw stopped(`${doing} ${path}`, signal);
    const { random, scheduler } = this.#life;
    if (!this.isDown && !(this.failureIn > 0 && random.oneIn(this.failureIn))) return;
    const kind = this.isDown ? "transient" : random.pick(KINDS);
    scheduler.note(`storage: ${doing} ${path}: ${kind}`);
    throw new StorageError(kind, `Cannot ${doing} ${path}: simulated`);
  }

  #object(path: string): StoredObject {
    const object = this.#bucket.objects.get(path);
    if (object !== undefined) return object;
    throw new StorageError("absent", `Cannot read ${path}: no such object`);
  }
}

function* lateSteps(isTime: () => boolean, land: () => void): Steps<void> {
  yield isTime;
  land();
}

/** Content in a trace: length and beginning. */
export function describe(bytes: Uint8Array): string {
  return `${bytes.length}:${new TextDecoder("latin1").decode(bytes.subarray(0, 24))}`;
}
