/**
 * The depots under `p4-cache run`: those of a directory's configurations, started, reloaded and stopped
 * as the files come and go.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { ConfigError } from "../errors.ts";
import type { Config } from "../config/config.ts";
import { type DepotFile, depotFiles } from "./depot_files.ts";
import { Budgets } from "./run_budgets.ts";
import { conflict, loadDepot } from "./run_configs.ts";
import { DepotProcess } from "./run_depot.ts";
import type { Shares } from "./run_shares.ts";

/** What the depots need. */
export interface DepotsParts {
  readonly configDir: string;
  /** Program and arguments that stand before a daemon's own. */
  readonly program: readonly [string, ...string[]];
  /** What all share, now. */
  readonly total: () => Shares;
  /** A line of a daemon's log. */
  readonly onLine: (name: string, line: string) => void;
  readonly log: Logger;
}

/** See the module. */
export class Depots {
  readonly #parts: DepotsParts;
  readonly #depots = new Map<string, DepotProcess>();
  /** Without a configuration, and not yet at their end. */
  readonly #leaving = new Set<DepotProcess>();
  readonly #budgets: Budgets;
  readonly #settled = Promise.withResolvers<void>();
  #isStarted = false;
  /** Resolves when each depot has answered or failed once. */
  readonly settled = this.#settled.promise;

  constructor(parts: DepotsParts) {
    this.#parts = parts;
    this.#budgets = new Budgets(parts.total);
  }

  /** Those that have a configuration. */
  get all(): readonly DepotProcess[] {
    return [...this.#depots.values()];
  }

  /**
   * Starts a daemon for each configuration.
   * @throws ConfigError when there is none.
   * @throws EnvironmentError when the directory cannot be read.
   */
  start(): void {
    const { configDir } = this.#parts;
    const files = depotFiles(configDir);
    if (files.length === 0) {
      throw new ConfigError(`Cannot run: there is no *.json in ${configDir}`);
    }
    for (const file of files) this.#begin(file);
    this.#isStarted = true;
    this.#noteChange();
  }

  /**
   * Starts the depots of new files, stops those of removed ones, and has the others read theirs again.
   * @throws EnvironmentError when the directory cannot be read; nothing is changed then.
   */
  reload(): void {
    const files = depotFiles(this.#parts.configDir);
    const names = new Set(files.map(({ name }) => name));
    for (const depot of this.all) {
      if (names.has(depot.name)) depot.reload();
      else this.#leave(depot);
    }
    for (const file of files) if (!this.#depots.has(file.name)) this.#begin(file);
  }

  /** Called from time to time: divides what is shared, and ends daemons that hang. */
  look(): void {
    for (const depot of this.all) depot.look();
    this.#budgets.divide([...this.all, ...this.#leaving]);
  }

  signal(signal: Deno.Signal): void {
    for (const depot of this.all) depot.signal(signal);
  }

  /** Lets every daemon come to its end. */
  async stop(): Promise<void> {
    const running = [...this.all, ...this.#leaving];
    for (const depot of running) depot.stop();
    await Promise.all(running.map(({ done }) => done));
  }

  #begin(file: DepotFile): void {
    const { program, onLine, log } = this.#parts;
    const others = () => {
      const own = this.#depots.get(file.name);
      return [...this.all, ...this.#leaving].filter((depot) => depot !== own);
    };
    const depot = new DepotProcess({
      file,
      program,
      load: () => loadAlone(file, others()),
      firstShares: () => this.#budgets.first(others()),
      onLine: (line) => onLine(file.name, line),
      onChange: () => this.#noteChange(),
      log,
    });
    this.#depots.set(file.name, depot);
    log.info(`Depot '${file.name}' is in ${file.path}`);
  }

  #leave(depot: DepotProcess): void {
    this.#parts.log.info(`Depot '${depot.name}' is stopped: its configuration is gone`);
    this.#depots.delete(depot.name);
    this.#leaving.add(depot);
    depot.stop();
    void depot.done.then(() => this.#leaving.delete(depot));
  }

  #noteChange(): void {
    if (!this.#isStarted) return;
    if (this.all.every(({ state }) => state !== "starting")) this.#settled.resolve();
  }
}

/** @throws ConfigError when the file is wrong, or wants what belongs to another depot. */
function loadAlone({ path }: DepotFile, others: readonly DepotProcess[]): Config {
  const config = loadDepot(path);
  const taken = others.flatMap(({ name, config }) =>
    config === null ? [] : [[name, config] as const]
  );
  const why = conflict(config, new Map(taken));
  if (why !== null) throw new ConfigError(`Cannot use ${path}: ${why}`);
  return config;
}
