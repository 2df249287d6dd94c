/**
 * What p4d and its users do to a depot, without end: submits, archives rewritten, files renamed and
 * deleted, reads of files that were evicted, questions for files that never were.
 *
 * As many paths as at the start, so that nothing has a reason to grow. Each file says which version
 * it is: what is read is checked at once, and everything once more at the end.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { DaemonProcess } from "../e2e/daemon_process.ts";
import type { Random } from "../sim/random.ts";

/** Paths in use. */
const PATHS = 3000, PER_DIRECTORY = 100;

/** Names that the depot's files ever have: each path, and the one beside it that it is written under. */
export const MOST_NAMES = 2 * PATHS;

/** One in so many writes is of a large file. */
const LARGE_EVERY = 400;
const LARGE_BYTES = 24 * 1024 ** 2, MOST_SMALL_BYTES = 64 * 1024;

/** See the module. */
export class Workload {
  /** Operations of each kind. */
  readonly counts = { written: 0, deleted: 0, renamed: 0, read: 0, missed: 0 };
  readonly #daemon: DaemonProcess;
  readonly #random: Random;
  /** Version of each path that is there. */
  readonly #versions = new Map<number, number>();
  #nextVersion = 1;
  /** Resolves when the pause is over. */
  #paused: Promise<void> | null = null;

  constructor(daemon: DaemonProcess, random: Random) {
    this.#daemon = daemon;
    this.#random = random;
    for (let dir = 0; dir < PATHS / PER_DIRECTORY; dir++) Deno.mkdirSync(`${daemon.depot}/d${dir}`);
  }

  /** One thing after another until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#paused;
      await this.#step();
    }
  }

  /** Nothing happens until what is returned is disposed of. */
  pause(): Disposable {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#paused = promise;
    return { [Symbol.dispose]: resolve };
  }

  /** Reads every file; @throws Error naming one that is not what was written. */
  async checkAll(): Promise<number> {
    for (const path of this.#versions.keys()) await this.#read(path);
    return this.#versions.size;
  }

  async #step(): Promise<void> {
    const dice = this.#random.fraction(), path = this.#random.below(PATHS);
    if (dice < 0.35) return await this.#write(path);
    if (dice < 0.4) return await this.#delete(path);
    if (dice < 0.42) return await this.#rename(path);
    if (dice < 0.5) return await this.#miss();
    if (this.#versions.has(path)) return await this.#read(path);
    await this.#write(path);
  }

  #nameOf(path: number): string {
    return `d${Math.floor(path / PER_DIRECTORY)}/file${path}.c,v`;
  }

  #placeOf(path: number): string {
    return `${this.#daemon.depot}/${this.#nameOf(path)}`;
  }

  /** As p4d writes an archive: beside it, renamed when whole. */
  async #write(path: number): Promise<void> {
    const version = this.#nextVersion++;
    const isLarge = this.counts.written++ % LARGE_EVERY === LARGE_EVERY - 1;
    const size = isLarge
      ? LARGE_BYTES
      : Math.floor(this.#random.fraction() ** 3 * MOST_SMALL_BYTES);
    const temporary = `${this.#placeOf(path)}.new`;
    await Deno.writeFile(temporary, contentOf(version, size));
    await Deno.rename(temporary, this.#placeOf(path));
    this.#versions.set(path, version);
  }

  async #delete(path: number): Promise<void> {
    if (!this.#versions.has(path)) return;
    await this.#withFile(path, (place) => Deno.remove(place));
    this.#versions.delete(path);
    this.counts.deleted++;
  }

  /** To a path where no file is. */
  async #rename(path: number): Promise<void> {
    const version = this.#versions.get(path), to = (path + 1) % PATHS;
    if (version === undefined || this.#versions.has(to)) return;
    await this.#withFile(path, (place) => Deno.rename(place, this.#placeOf(to)));
    this.#versions.delete(path);
    this.#versions.set(to, version);
    this.counts.renamed++;
  }

  async #miss(): Promise<void> {
    const answer = await this.#daemon.fetch(`none/${this.#random.below(1e9)}`);
    if (answer !== "NOTFOUND") throw new Error(`A file that never was: ${answer}`);
    this.counts.missed++;
  }

  async #read(path: number): Promise<void> {
    const bytes = await this.#withFile(path, (place) => Deno.readFile(place));
    const { version, isWhole } = parse(bytes);
    const expected = this.#versions.get(path);
    if (version !== expected || !isWhole) {
      const is = `version ${version} (whole: ${isWhole}), not ${expected}`;
      throw new Error(`${this.#nameOf(path)} is ${is}`);
    }
    this.counts.read++;
  }

  /** As a program under the shim: where no file is it asks for it, and tries again. */
  async #withFile<T>(path: number, use: (place: string) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await use(this.#placeOf(path));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
      const answer = await this.#daemon.fetch(this.#nameOf(path));
      if (!answer.startsWith("OK")) throw new Error(`${this.#nameOf(path)}: ${answer}`);
    }
  }
}

/** The version, a line with the digest of the rest, the rest. */
function contentOf(version: number, size: number): Uint8Array {
  const rest = new Uint8Array(size);
  for (let at = 0; at < size; at += 64) rest[at] = (at * 31 + version) & 0xff;
  const head = `${version}\n${createHash("sha256").update(rest).digest("hex")}\n`;
  const bytes = new Uint8Array(head.length + size);
  bytes.set(new TextEncoder().encode(head));
  bytes.set(rest, head.length);
  return bytes;
}

function parse(bytes: Uint8Array): { version: number; isWhole: boolean } {
  const first = bytes.indexOf(10), second = bytes.indexOf(10, first + 1);
  const text = (from: number, to: number) => new TextDecoder().decode(bytes.subarray(from, to));
  const digest = createHash("sha256").update(bytes.subarray(second + 1)).digest("hex");
  return { version: Number(text(0, first)), isWhole: text(first + 1, second) === digest };
}
