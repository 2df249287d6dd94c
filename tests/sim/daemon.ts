/**
 * The daemon in the simulated world: its own engine, put together and started as `src/commands/daemon.ts`
 * does, over simulated files, watcher, LMDB and storage.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Watcher } from "../../ffi/watch.ts";
import { recover } from "../../src/cache/recovery.ts";
import { startBackground } from "../../src/commands/background.ts";
import { buildEngine, type Engine } from "../../src/commands/engine.ts";
import type { Config } from "../../src/config/config.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Manifest } from "../../src/manifest/manifest.ts";
import { Health } from "../../src/observe/health.ts";
import { getLog } from "../../src/observe/logging.ts";
import type { FetchAnswer, UnlinkAnswer } from "../../src/server/shim_server.ts";
import { RetryingBackend } from "../../src/storage/retrying.ts";
import { INLINE_WORK } from "../../src/storage/transfer_threads.ts";
import type { Ledger } from "./ledger.ts";
import type { Disk } from "./world/disk.ts";
import { isDirty, manifestProblem } from "./manifest_invariants.ts";
import { Killed, type ProcessLife } from "./world/process.ts";
import { type Bucket, SimBackend } from "./world/sim_backend.ts";
import { SimFiles } from "./world/sim_files.ts";
import { newEnvironment, SimKv } from "./world/sim_kv.ts";
import { SimWatcher } from "./world/sim_watcher.ts";

/** How hostile the world is to the daemon. */
export interface Hostility {
  /** One in so many requests to the storage fails; 0: none. */
  readonly storageFailsIn: number;
  /** The answer to one in so many puts is lost; the put may take effect minutes later. */
  readonly answersLostIn: number;
  /** One in so many commits fails. */
  readonly commitFailsIn: number;
  /** One in so many placements finds the disk full. */
  readonly diskFullIn: number;
  /** One in so many times events wait for the watcher. */
  readonly watcherSleepsIn: number;
  /** Effects until kill -9, on average. */
  readonly effectsPerDeath: number;
}

/** Nothing fails. */
export const CALM: Hostility = {
  storageFailsIn: 0,
  answersLostIn: 0,
  commitFailsIn: 0,
  diskFullIn: 0,
  watcherSleepsIn: 0,
  effectsPerDeath: 0,
};

/** Settings of the simulated daemon, from the daemon's own loader. */
export function simulatedConfig(
  lowWatermarkBytes: number,
  deletePolicy: Config["deletePolicy"],
): Config {
  const directory = { isDirectory: true, isFile: false };
  const config = loadConfig(
    new Map([
      ["--depot-path", "/depot"],
      ["--primary-type", "nfs"],
      ["--primary-path", "/bucket"],
    ]),
    () => undefined,
    {
      cwd: () => "/",
      readTextFileSync: () => "",
      realPathSync: (path) => String(path),
      statSync: () => directory as Deno.FileInfo,
    },
  );
  return {
    ...config,
    lowWatermarkBytes,
    deletePolicy,
    deleteGraceSeconds: 1,
    maxCacheBytes: 2 * lowWatermarkBytes,
    accessLogEnabled: false,
    evictMinAgeSeconds: 0,
    reconcileIntervalSeconds: 20,
    uploadConcurrency: 3,
    uploadConcurrencyMax: 3,
    uploadBatchSize: 3,
    restoreThreads: 1,
  };
}

/** Uploads in flight at once at most, by the settings above: small, one batch, large. */
export const UPLOADS_AT_MOST = 3 + 3 + 3;

/** The disk of the world has room for the manifest. */
/** The machine never stops: only the daemon does. */
const BOOT = { id: "one", atNs: 0n };

const ALONE = { isHeld: true, whenHeld: () => Promise.resolve(), onLost: () => {} };

const NO_RESERVE = { hold: () => true, isHeld: true, neededBytes: 0 };

/** The parts of the world that outlive the daemon. */
export interface Machine {
  readonly life: ProcessLife;
  readonly disk: Disk;
  readonly ledger: Ledger;
  readonly bucket: Bucket;
  /** Where files from before are; null: there is no secondary. */
  readonly secondary: Bucket | null;
}

/** See the module. */
export class SimDaemon {
  engine: Engine | null = null;
  /** Whether it is durable what the directories of the beginning are. */
  knowsDirectories = false;
  /** Why it ended by itself. */
  failure: unknown = null;
  hostility: Hostility = CALM;
  isStorageDown = false;
  readonly #machine: Machine;
  readonly #config: Config;
  readonly #environment = newEnvironment();
  #watcher: SimWatcher | null = null;
  #backend: SimBackend | null = null;
  #secondary: SimBackend | null = null;
  #files: SimFiles | null = null;
  #kv: SimKv | null = null;

  constructor(machine: Machine, config: Config) {
    this.#machine = machine;
    this.#config = config;
    machine.life.onDeath = () => {
      this.engine = null;
      this.#backend?.died();
    };
  }

  /** Starts; ends when it serves, or was killed on the way. */
  async start(): Promise<void> {
    const { life, disk, ledger, bucket } = this.#machine;
    life.start();
    life.scheduler.note("daemon: starts");
    const deaths = life.deaths;
    this.#watcher = new SimWatcher(life, disk);
    this.#backend = new SimBackend(life, bucket);
    const { secondary } = this.#machine;
    this.#secondary = secondary === null ? null : new SimBackend(life, secondary);
    this.#files = new SimFiles(life, disk, ledger);
    this.#kv = new SimKv(life, this.#environment);
    this.#kv.onCommit = (environment) => {
      const problem = manifestProblem(environment);
      if (problem !== null) this.failure ??= new Error(`manifest: ${problem}`);
    };
    this.setHostility(this.hostility, this.isStorageDown);
    bucket.forget((path) => isDirty(this.#environment, path));
    const files = this.#files as unknown as DepotFiles;
    const log = getLog("daemon");
    try {
      const manifest = new Manifest(this.#kv, (path) => path, () => {});
      const trashNames = disk.list(".p4cache/trash").map(({ name }) => name);
      const found = { trashNames, markNames: [], boot: BOOT };
      const left = await recover(files, manifest, found, log, true);
      const health = new Health(getLog("health"));
      const primary = new RetryingBackend(this.#backend);
      const engine = buildEngine(
        this.#config,
        files,
        manifest,
        primary,
        this.#secondary,
        health,
        NO_RESERVE,
        ALONE,
        INLINE_WORK,
      );
      await engine.renames.load();
      const watching = engine.intake.run(this.#watcher as unknown as Watcher, engine.scanner);
      watching.catch((error) => this.#ended(error, deaths));
      engine.findRenames(left);
      this.#learned(engine).catch((error) => this.#ended(error, deaths));
      startBackground(this.#config, engine, log).done
        .catch((error) => this.#ended(error, deaths));
      this.engine = engine;
      life.scheduler.note("daemon: serves");
    } catch (error) {
      this.#ended(error, deaths);
    }
  }

  async #learned({ identities, manifest }: Engine): Promise<void> {
    await identities.settled();
    await identities.learned();
    await manifest.commit();
    this.knowsDirectories = true;
  }

  /** A promise of the program was rejected, and nobody looked: the runtime would end it. */
  rejected(error: unknown): void {
    this.#ended(error, this.#machine.life.deaths);
  }

  #ended(error: unknown, deaths: number): void {
    if (error instanceof Killed || this.#machine.life.deaths !== deaths) return;
    this.failure = error;
  }

  setHostility(hostility: Hostility, isStorageDown: boolean): void {
    this.hostility = hostility;
    this.isStorageDown = isStorageDown;
    this.#machine.life.effectsPerDeath = hostility.effectsPerDeath;
    if (this.#backend !== null) {
      this.#backend.failureIn = hostility.storageFailsIn;
      this.#backend.answersLostIn = hostility.answersLostIn;
      this.#backend.isDown = isStorageDown;
    }
    if (this.#secondary !== null) this.#secondary.failureIn = hostility.storageFailsIn;
    if (this.#watcher !== null) this.#watcher.sleepsIn = hostility.watcherSleepsIn;
    if (this.#kv !== null) this.#kv.failureIn = hostility.commitFailsIn;
    if (this.#files !== null) this.#files.fullDiskIn = hostility.diskFullIn;
  }

  /** The kernel loses the events it holds. */
  loseEvents(): void {
    if (this.#machine.life.alive) this.#watcher?.lose();
  }

  /** The shim's requests; null while nobody listens. */
  fetch(path: string): Promise<FetchAnswer> | null {
    return this.engine?.restorer.fetch(path) ?? null;
  }

  unlink(path: string): Promise<UnlinkAnswer> | null {
    return this.engine?.remover.unlink(path) ?? null;
  }

  /** The timer that looks at the watermark may be due at any moment. */
  lookAtWatermark(): void {
    this.engine?.evictor.notice();
    this.#machine.life.scheduler.touch();
  }
}
