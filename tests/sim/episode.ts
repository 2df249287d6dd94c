/**
 * One simulated world from its beginning to its end: a seed decides everything in it.
 *
 * For a number of steps programs work on a depot while the daemon uploads, evicts and restores, the
 * storage fails, events get lost and the daemon is killed. Then the world calms down, and everything
 * must come to rest: each file in the bucket as p4d wrote it, and readable.
 *
 * @module
 */

import { configureSync, type LogRecord } from "@logtape/logtape";
import { Ledger } from "./ledger.ts";
import { CALM, type Hostility, SimDaemon, simulatedConfig, UPLOADS_AT_MOST } from "./daemon.ts";
import { Program, type ProgramParts } from "./programs.ts";
import { Promises, Violation } from "./promises.ts";
import { Random } from "./random.ts";
import { Disk, Errno } from "./world/disk.ts";
import { ProcessLife } from "./world/process.ts";
import { Scheduler } from "./world/scheduler.ts";
import { Bucket } from "./world/sim_backend.ts";
import { contentDigest, sliceDigest } from "../../src/storage/content_digest.ts";
import { installVirtualTime } from "./world/virtual_time.ts";

const PATHS = ["f0", "f1", "f2", "a/f0", "a/f1", "b/c/f0", "b/f1", "b/f2"];

/** Directories that are renamed to each other, and paths below them besides. */
const DIRECTORIES = ["a", "b", "b/c", "d", "d/c", "e", "e/c"],
  MORE_PATHS = ["d/f0", "d/f1", "d/c/f0"];

/** Steps in which a calm world must come to rest. */
const REST_STEPS = 60_000;

/** Time after which a calm world has been compared as a whole, ms. */
const REST_MS = 45_000;

/** Files in one eviction at most: the evictor's batch. */
const EVICTIONS_AT_MOST = 512;

/** What an episode was, for people. */
export interface EpisodeResult {
  readonly steps: number;
  readonly counts: {
    readonly kills: number;
    readonly stored: number;
    readonly evicted: number;
    readonly restored: number;
    /** Deletes that nobody saw: the file came back. */
    readonly cameBack: number;
  };
  readonly violation: Violation | null;
  /** The last things that happened. */
  readonly trace: readonly string[];
}

/** What somebody wants of a world besides what its seed decides. */
export interface EpisodeOptions {
  /** Directories are renamed, and often. */
  readonly renames: boolean;
  /** The daemon's log is part of the trace. */
  readonly trace: boolean;
}

/** Runs one world. @param steps Steps of the hostile part. */
export async function runEpisode(
  seed: number,
  steps: number,
  options: EpisodeOptions,
): Promise<EpisodeResult> {
  const world = new World(seed, options);
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    world.rejected(event.reason);
  };
  addEventListener("unhandledrejection", onRejection);
  try {
    return await world.run(steps);
  } finally {
    await world.close();
    removeEventListener("unhandledrejection", onRejection);
  }
}

class World {
  readonly #random: Random;
  readonly #scheduler: Scheduler;
  readonly #life: ProcessLife;
  readonly #disk: Disk;
  readonly #ledger = new Ledger(() => this.#steps);
  readonly #bucket = new Bucket();
  readonly #promises: Promises;
  readonly #daemon: SimDaemon;
  readonly #parts: ProgramParts;
  readonly #hostility: Hostility;
  readonly #losesEventsIn: number;
  readonly #changesStorageIn: number;
  #violation: Violation | null = null;
  #isQuiet = false;
  #steps = 0;
  #restartIn = 0;

  constructor(seed: number, options: EpisodeOptions) {
    const random = new Random(seed);
    this.#random = random;
    this.#scheduler = new Scheduler(random);
    if (options.trace) this.#traceLog();
    this.#disk = new Disk(() => BigInt(Math.floor(this.#scheduler.nowMs * 1000)) * 1000n);
    this.#life = new ProcessLife(random, this.#scheduler, this.#disk);
    installVirtualTime(this.#scheduler, random, () => this.#life.alive);
    for (const dir of ["trash", "conflicts", "restore"]) this.#disk.makeDirs(`.p4cache/${dir}`);
    for (const path of PATHS) this.#disk.makeParents(path);
    const secondary = random.oneIn(4) ? this.#filesFromBefore() : null;
    this.#promises = new Promises(this.#disk, this.#ledger, this.#bucket, secondary);
    this.#hostility = {
      storageFailsIn: random.pick([0, 40, 10]),
      answersLostIn: random.pick([0, 0, 0, 20]),
      commitFailsIn: random.pick([0, 0, 20]),
      diskFullIn: random.pick([0, 0, 10]),
      watcherSleepsIn: random.pick([0, 4]),
      effectsPerDeath: random.pick([0, 2000, 300]),
    };
    this.#losesEventsIn = random.pick([0, 1000]);
    this.#promises.seesAll = this.#losesEventsIn === 0 && this.#hostility.effectsPerDeath === 0;
    this.#changesStorageIn = random.pick([0, 1500]);
    this.#daemon = new SimDaemon(
      { life: this.#life, disk: this.#disk, ledger: this.#ledger, bucket: this.#bucket, secondary },
      simulatedConfig(random.pick([1, 100, 300]), random.oneIn(3) ? "tombstone" : "keep"),
    );
    const renames = random.oneIn(2) || options.renames;
    this.#parts = {
      disk: this.#disk,
      ledger: this.#ledger,
      scheduler: this.#scheduler,
      random,
      fetch: (path) => this.#daemon.fetch(path),
      unlink: (path) => this.#daemon.unlink(path),
      isQuiet: () => this.#isQuiet,
      daemonDeaths: () => this.#life.deaths,
      violated: (promise, what) => this.#violation ??= new Violation(promise, what),
      paths: renames ? [...PATHS, ...MORE_PATHS] : PATHS,
      mayRename: () => this.#daemon.knowsDirectories,
      directories: renames ? DIRECTORIES : [],
      renamesIn: options.renames ? 2 : 4,
    };
  }

  #traceLog(): void {
    const trace = ({ category, level, message }: LogRecord) =>
      this.#scheduler.note(`daemon: ${level} ${category.at(-1)}: ${message.join("")}`);
    const loggers = [
      { category: ["p4cache"], sinks: ["trace" as const] },
      { category: ["logtape", "meta"], lowestLevel: "error" as const },
    ];
    configureSync({ reset: true, sinks: { trace }, loggers });
  }

  /** A secondary location with files that p4d has had before, and that are not on the disk. */
  #filesFromBefore(): Bucket {
    const bucket = new Bucket();
    for (const path of PATHS) {
      if (this.#random.oneIn(2)) continue;
      const content = new Uint8Array(new TextEncoder().encode(`before/${path}`));
      const digest = contentDigest([sliceDigest(content)]);
      const info = { size: content.length, digest, mode: 0o644, mtimeNs: 1_000_000_000n };
      bucket.land(bucket.send(path, info, content));
      this.#ledger.set(path, { content, mode: 0o644, wasRenamed: false, cameBack: false });
    }
    return bucket;
  }

  rejected(error: unknown): void {
    this.#daemon.rejected(error);
  }

  async close(): Promise<void> {
    this.#life.kill();
    await this.#scheduler.settle();
    this.#scheduler.close();
  }

  async run(steps: number): Promise<EpisodeResult> {
    try {
      await this.#beHostile(steps);
      await this.#rest();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.#violation = error;
    }
    return {
      steps: this.#steps,
      counts: {
        ...this.#life.counts,
        kills: this.#life.deaths,
        cameBack: this.#promises.cameBack,
      },
      violation: this.#violation,
      trace: this.#scheduler.trace,
    };
  }

  async #beHostile(steps: number): Promise<void> {
    const random = this.#random;
    let isOver = false;
    for (let i = 0; i < 4; i++) {
      this.#startProgram(new Program(this.#parts, `p${i}`, true), () => isOver);
    }
    for (let i = random.below(3); i > 0; i--) {
      this.#startProgram(new Program(this.#parts, `raw${i}`, false), () => isOver);
    }
    this.#daemon.setHostility(this.#hostility, false);
    this.#startDaemon();
    for (let i = 0; i < steps; i++) {
      if (this.#losesEventsIn > 0 && random.oneIn(this.#losesEventsIn)) this.#daemon.loseEvents();
      if (this.#changesStorageIn > 0 && random.oneIn(this.#changesStorageIn)) {
        this.#daemon.setHostility(this.#hostility, !this.#daemon.isStorageDown);
        this.#scheduler.note(`storage: ${this.#daemon.isStorageDown ? "down" : "up"}`);
      }
      if (random.oneIn(150)) this.#isQuiet = !this.#isQuiet;
      if (random.oneIn(40)) this.#daemon.lookAtWatermark();
      await this.#step();
    }
    isOver = true;
    this.#isQuiet = false;
  }

  #startProgram(program: Program, isStopped: () => boolean): void {
    this.#scheduler.run("world", "program", program.work(isStopped))
      .catch((error) => this.#daemon.failure ??= error);
  }

  #startDaemon(): void {
    void this.#daemon.start();
    this.#scheduler.touch();
    this.#restartIn = this.#random.oneIn(3) ? 0 : this.#random.below(300);
  }

  async #step(): Promise<void> {
    this.#steps++;
    if (!this.#life.alive && this.#restartIn-- <= 0) {
      // What the dead one was in the middle of comes to its end first.
      await this.#scheduler.settle();
      this.#startDaemon();
    }
    await this.#scheduler.step();
    this.#promises.check();
    const { engine, failure } = this.#daemon;
    if (engine !== null) {
      this.#promises.checkMemory(engine.activity, UPLOADS_AT_MOST, EVICTIONS_AT_MOST);
    }
    if (this.#violation !== null) throw this.#violation;
    if (failure !== null) {
      throw new Violation(
        "P4",
        `the daemon failed: ${failure instanceof Error ? failure.stack : failure}`,
      );
    }
  }

  /** No more faults: everything must come to rest, and be right. */
  async #rest(): Promise<void> {
    this.#daemon.setHostility(CALM, false);
    this.#scheduler.note("world: calm");
    await this.#until("every program ends", () => !this.#scheduler.isBusy("world"));
    const calmMs = this.#scheduler.nowMs;
    await this.#until("every file is uploaded", () => {
      const { engine } = this.#daemon;
      return engine !== null && this.#scheduler.nowMs > calmMs + REST_MS &&
        !this.#scheduler.isBusy("storage") && this.#notStored() === null &&
        engine.manifest.counters.dirty === 0 && engine.activity.uploads.size === 0 &&
        engine.activity.evictions.size === 0;
    });
    const left = this.#disk.list(".p4cache/trash");
    if (left.length > 0) throw new Violation("P1", `${left.length} files are left in the trash`);
    const reader = new Program(this.#parts, "reader", true);
    const paths = [...this.#ledger.files.keys()];
    this.#startProgram(
      { work: () => readAll(reader, paths) } as unknown as Program,
      () => false,
    );
    await this.#until("every file is read", () => !this.#scheduler.isBusy("world"));
  }

  /** What is still open, for people. */
  #open(): string {
    const { engine } = this.#daemon;
    if (engine === null) return "; the daemon does not serve";
    const { manifest, activity } = engine;
    return `; ${manifest.counters.dirty} dirty, uploads of ${[...activity.uploads.keys()]}, ` +
      `evictions of ${[...activity.evictions.keys()]}, restores of ${[
        ...activity.restores.keys(),
      ]}; ` +
      (this.#notStored() ?? "everything is stored");
  }

  async #until(what: string, isDone: () => boolean): Promise<void> {
    for (let i = 0; !isDone(); i++) {
      if (i === REST_STEPS) throw new Violation("P4", `at rest, but not: ${what}${this.#open()}`);
      await this.#step();
    }
  }

  /** What the bucket lacks of what p4d wrote; null when it has everything. */
  #notStored(): string | null {
    for (const [path, file] of this.#ledger.files) {
      if (file.cameBack && this.#disk.file(path) === null) continue;
      if (/(^|\/)tmp\.\d+\.\d+$/.test(path) || this.#promises.isStored(path, file)) continue;
      return `p4d wrote ${this.#promises.difference(path, file)}`;
    }
    return null;
  }
}

/** What cannot be read was reported as a broken promise. */
function* readAll(reader: Program, paths: readonly string[]) {
  for (const path of paths) {
    try {
      yield* reader.read(path);
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
    }
  }
}
