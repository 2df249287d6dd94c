/**
 * Measures a backend: small objects at several widths, middle ones, one large. Every object is under a
 * name of its own below the probe's, and removed in the end, whatever happened.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { type Backend, type Content, SLICE_BYTES, StorageError } from "./backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "./content_digest.ts";
import { PROBE_DIR } from "./probe.ts";

const KIB = 1024, MIB = 1024 ** 2;

/** Requests for one large object, and for its removal, at once. */
const LARGE_WIDTH = 8, REMOVAL_WIDTH = 64;

/** Small objects are few enough to be removed soon, however fast the backend is. */
const MOST_OBJECTS = 20_000;

/** What is to be measured. */
export interface BenchPlan {
  /** Longest time of a step with many objects, s. */
  readonly seconds: number;
  readonly largeBytes: number;
}

/** What one step gave. */
export interface BenchResult {
  readonly operation: "put" | "get";
  readonly objectBytes: number;
  readonly inFlight: number;
  readonly objects: number;
  readonly seconds: number;
  /** Of this process, user and system, all threads. */
  readonly cpuSeconds: number;
  /** Times of single operations, ms. */
  readonly medianMs: number;
  readonly p99Ms: number;
  /** Most memory that this process has had so far. */
  readonly peakRssBytes: number;
}

/** Steps of many objects: their size, and how many are under way at once. */
const STEPS: readonly { readonly bytes: number; readonly width: number }[] = [
  { bytes: 4 * KIB, width: 16 },
  { bytes: 4 * KIB, width: 64 },
  { bytes: 4 * KIB, width: 256 },
  { bytes: MIB, width: 16 },
];

/** How many results {@link Bench.run} gives. */
export const RESULTS = 2 * STEPS.length + 2;

/** One run. */
export class Bench {
  readonly #backend: Backend;
  readonly #plan: BenchPlan;
  /** What the names begin with; no directories, which mounted storage would keep. */
  readonly #stem = `${PROBE_DIR}bench-${crypto.randomUUID()}-`;
  /** Objects whose put was begun. */
  readonly #begun = new Set<DepotPath>();

  constructor(backend: Backend, plan: BenchPlan) {
    this.#backend = backend;
    this.#plan = plan;
  }

  /** Where its objects are: what their full names begin with. */
  get place(): string {
    return `${this.#backend.label}/${this.#stem}`;
  }

  /**
   * Runs all steps. @param onStep Called before each.
   * @throws StorageError when an operation fails, or the signal is aborted
   */
  async *run(signal: AbortSignal, onStep: (what: string) => void): AsyncIterable<BenchResult> {
    for (const { bytes, width } of STEPS) {
      const content = patternContent(bytes);
      const name = (i: number) => `${bytes}-${width}-${i}`;
      onStep(`put ${bytes / KIB} KiB, ${width} in flight`);
      const stored = await this.#many("put", bytes, width, MOST_OBJECTS, async (i) => {
        await this.#put(name(i), content, signal);
      });
      yield stored;
      onStep(`get ${bytes / KIB} KiB, ${width} in flight`);
      yield await this.#many("get", bytes, width, MOST_OBJECTS, async (i) => {
        await this.#get(name(i % stored.objects), 0, content, signal);
      });
    }
    yield* this.#large(signal, onStep);
  }

  /** Removes all objects; returns how many could not be. Goes on when one fails. */
  async clean(signal: AbortSignal): Promise<number> {
    const paths = [...this.#begun];
    let left = 0, next = 0;
    const worker = async () => {
      while (next < paths.length) {
        const path = paths[next++]!;
        try {
          await this.#backend.delete(path, signal);
          this.#begun.delete(path);
        } catch {
          left++;
        }
      }
    };
    await Promise.all(Array.from({ length: REMOVAL_WIDTH }, worker));
    return left;
  }

  async *#large(signal: AbortSignal, onStep: (what: string) => void): AsyncIterable<BenchResult> {
    const { largeBytes } = this.#plan;
    const content = patternContent(largeBytes);
    const slices = sliceCount(largeBytes);
    onStep(`put ${largeBytes / MIB} MiB`);
    const stored = await this.#many(
      "put",
      largeBytes,
      1,
      1,
      () => this.#put("large", content, signal),
    );
    yield stored;
    onStep(`get ${largeBytes / MIB} MiB`);
    const got = await this.#many(
      "get",
      largeBytes,
      LARGE_WIDTH,
      slices,
      (i) => this.#get("large", i * SLICE_BYTES, content, signal),
      Infinity,
    );
    // Slices of one object, not objects.
    yield { ...got, objects: 1 };
  }

  async #put(name: string, content: Content, signal: AbortSignal): Promise<void> {
    const path = this.#stem + name as DepotPath;
    this.#begun.add(path);
    try {
      await this.#backend.put(path, content, signal);
    } catch (error) {
      // What was refused is not there, and its removal would be refused too.
      if (error instanceof StorageError && error.kind === "denied") this.#begun.delete(path);
      throw error;
    }
  }

  /** Reads one slice and verifies it, as a restore does. */
  async #get(name: string, offset: number, content: Content, signal: AbortSignal): Promise<void> {
    const path = this.#stem + name as DepotPath;
    const { bytes } = await this.#backend.getRange(path, offset, SLICE_BYTES, { signal });
    const expected = content.sliceDigests[offset / SLICE_BYTES]!;
    if (sliceDigest(bytes).every((byte, i) => byte === expected[i])) return;
    throw new StorageError("corrupt", `${this.#backend.label} gave other bytes than were stored`);
  }

  /** Calls until the time or the number is reached, so many at once. */
  async #many(
    operation: "put" | "get",
    objectBytes: number,
    inFlight: number,
    most: number,
    call: (i: number) => Promise<void>,
    seconds = this.#plan.seconds,
  ): Promise<BenchResult> {
    const tookMs: number[] = [];
    const cpu = cpuSeconds(), begunMs = performance.now();
    let next = 0;
    let failed = false;
    const worker = async () => {
      do {
        if (next >= most) return;
        const startMs = performance.now();
        try {
          await call(next++);
        } catch (error) {
          failed = true;
          throw error;
        }
        tookMs.push(performance.now() - startMs);
      } while (!failed && performance.now() - begunMs < seconds * 1000);
    };
    const workers = Array.from({ length: Math.min(inFlight, most) }, worker);
    // All have ended before the first failure goes on: what they stored is removed next.
    const ends = await Promise.allSettled(workers);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    tookMs.sort((a, b) => a - b);
    return {
      operation,
      objectBytes,
      inFlight,
      objects: tookMs.length,
      seconds: (performance.now() - begunMs) / 1000,
      cpuSeconds: cpuSeconds() - cpu,
      medianMs: tookMs[Math.floor(tookMs.length / 2)]!,
      p99Ms: tookMs[Math.floor(tookMs.length * 0.99)]!,
      peakRssBytes: peakRssBytes(),
    };
  }
}

/** Content of any size in constant memory: one slice, again and again. */
function patternContent(size: number): Content {
  const pattern = new Uint8Array(Math.min(size, SLICE_BYTES));
  for (let at = 0; at < pattern.length; at += 65_536) {
    crypto.getRandomValues(pattern.subarray(at, at + 65_536));
  }
  const full = sliceDigest(pattern);
  const sliceDigests = Array.from({ length: sliceCount(size) }, (_, i) => {
    const left = size - i * SLICE_BYTES;
    return left >= pattern.length ? full : sliceDigest(pattern.subarray(0, left));
  });
  const read = (offset: number, length: number) => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const from = (offset + at) % SLICE_BYTES;
      const piece = pattern.subarray(from, from + length - at);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  };
  const digest = contentDigest(sliceDigests);
  return { size, digest, sliceDigests, mtimeNs: 0n, mode: 0o600, read };
}

/** proc(5): utime and stime, in ticks of 10 ms. */
function cpuSeconds(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function peakRssBytes(): number {
  const [, kib] = /VmHWM:\s*(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"))!;
  return Number(kib) * KIB;
}
