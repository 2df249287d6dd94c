/**
 * `ffi/watch.ts` over the simulated kernel queue: gathers, merges repeats, looks at what is there now,
 * and answers barriers, as `shim/helper/watch.c` does. The queue may lose everything.
 *
 * @module
 */

import type { Watcher, WatchRecord } from "../../../ffi/watch.ts";
import { asDepotPath, type Disk, type KernelEvent, statOf } from "./disk.ts";
import type { ProcessLife } from "./process.ts";
import type { Steps } from "./scheduler.ts";

/** Events gathered for one answer. */
const MAX_PENDING = 6;

/** Longest time for which its thread is not scheduled though there are events, ms. */
const ASLEEP_MS = 15;

const NOTHING = { path: asDepotPath(""), size: 0, mtimeNs: 0n, mode: 0, id: 0 };

/** See the module. */
export class SimWatcher implements Pick<Watcher, keyof Watcher> {
  readonly mode = "simulated";
  /** One in so many times its thread gets no processor for a while; 0: none. */
  sleepsIn = 0;
  readonly #life: ProcessLife;
  readonly #disk: Disk;
  readonly #events: KernelEvent[] = [];
  #barriers: number[] = [];
  #isLost = false;
  /** Events were taken from the queue, and {@link next} has not been called since. */
  #hasSome = true;
  /** Before when nothing is in the queue, and the same of what the reader is done with. */
  #emptiedNs = 0n;
  #toldNs = 0n;

  /** Begins to watch. */
  constructor(life: ProcessLife, disk: Disk) {
    this.#life = life;
    this.#disk = disk;
    disk.events = this.#events;
  }

  /** The kernel drops what is in the queue, and says so. */
  lose(): void {
    if (this.#events.length === 0) return;
    this.#life.scheduler.note(`kernel: ${this.#events.length} events lost`);
    this.#events.length = 0;
    this.#isLost = true;
  }

  next(): Promise<WatchRecord[]> {
    return this.#life.thread("watch", this.#nextSteps());
  }

  *#nextSteps(): Steps<WatchRecord[]> {
    if (!this.#isLost) this.#toldNs = this.#emptiedNs;
    this.#hasSome = false;
    yield () => this.#events.length > 0 || this.#barriers.length > 0 || this.#isLost;
    yield* this.#perhapsSleep();
    this.#hasSome = true;
    let barriers = this.#barriers.length;
    const gathered = new Map<string, KernelEvent>();
    this.#drain(gathered);
    if (barriers === 0) {
      yield null;
      this.#drain(gathered);
    }
    // Events from before the barriers may still be in the queue.
    if (this.#events.length > 0) barriers = 0;
    if (this.#isLost) {
      this.#isLost = false;
      return [{ ...NOTHING, kind: "reconcile" }];
    }
    const records: WatchRecord[] = [];
    for (const event of gathered.values()) {
      yield null;
      records.push(this.#record(event));
    }
    const passed = this.#barriers.splice(0, barriers);
    for (const id of passed) records.push({ ...NOTHING, kind: "barrier", id });
    return records;
  }

  *#perhapsSleep(): Steps<void> {
    const { random, scheduler } = this.#life;
    if (this.sleepsIn === 0 || !random.oneIn(this.sleepsIn)) return;
    const untilMs = scheduler.nowMs + random.fraction() * ASLEEP_MS;
    yield () => scheduler.nowMs >= untilMs;
  }

  #drain(gathered: Map<string, KernelEvent>): void {
    while (this.#events.length > 0 && gathered.size < MAX_PENDING) {
      const event = this.#events.shift()!;
      // Each rename of a directory counts; of repeats the last says whether a name went.
      const key = event.kind + event.path + (event.kind === "treeRenamed" ? gathered.size : "");
      gathered.set(key, event);
    }
    if (this.#events.length === 0) this.#emptiedNs = this.#disk.nowNs;
  }

  #record({ kind, path, to, removed }: KernelEvent): WatchRecord {
    const common = { ...NOTHING, path: asDepotPath(path) };
    if (kind === "treeRenamed") return { ...common, kind: "renamed", to: asDepotPath(to!) };
    if (kind === "treeLeft") return { ...common, kind: "treeGone" };
    if (kind === "treeCame") return { ...common, kind: "tree" };
    const inode = this.#disk.file(path);
    if (inode === null) return { ...common, kind: "gone", size: removed ? 1 : 0 };
    return { ...common, kind: "changed", ...statOf(inode) };
  }

  barrier(id: number): void {
    this.#life.call(() => this.#barriers.push(id));
  }

  isQuiet(): boolean {
    return this.#life.call(() => this.#isAllTold());
  }

  #isAllTold(): boolean {
    return this.#events.length === 0 && !this.#isLost && !this.#hasSome;
  }

  toldUntilNs(): bigint {
    return this.#isAllTold() ? this.#disk.nowNs : this.#toldNs;
  }

  stop(): void {}

  close(): void {}
}
