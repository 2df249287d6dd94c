/**
 * Backups while the daemon runs: at the times of `backup_schedule`, and when an operator asks. One at a
 * time; after a scheduled one the oldest beyond `backup_retention` are removed.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { Cron } from "croner";
import { Counter, Gauge, type Registry } from "prom-client";
import type { WriteRight } from "../cluster/write_right.ts";
import { sizeText } from "../amounts.ts";
import { describeError } from "../observe/logging.ts";
import type { Backend } from "../storage/backend.ts";
import { openPlace } from "./backup_place.ts";
import { type Backup, pruneBackups } from "./backup_set.ts";
import { type BackupParts, makeBackup } from "./make_backup.ts";
import { placeConfig } from "../config/place_config.ts";

/** See the module's description. */
export class BackupSchedule {
  readonly #parts: BackupParts;
  readonly #right: Pick<WriteRight, "isHeld">;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  readonly #failures: Counter;
  readonly #last: Gauge;
  #job: Cron | null = null;
  /** The latest of the backups, which take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * @param parts Its configuration is read when it is needed.
   * @param right A daemon that another one has replaced makes no scheduled backups.
   */
  constructor(
    parts: BackupParts,
    right: Pick<WriteRight, "isHeld">,
    registry: Registry,
    log: Logger,
  ) {
    this.#parts = parts;
    this.#right = right;
    this.#log = log;
    const registers = [registry];
    this.#failures = new Counter({
      name: "p4cache_backup_failures_total",
      help: "Backups of the manifest that failed",
      registers,
    });
    this.#last = new Gauge({
      name: "p4cache_backup_last_timestamp_seconds",
      help: "When the last backup of the manifest was made since the start; 0 before",
      registers,
    });
  }

  /** Makes backups at their times. */
  start(): void {
    const { backupSchedule, readOnly } = this.#parts.config;
    if (backupSchedule === null || readOnly) return;
    // Protected: a backup that takes longer than the time to the next one is not made twice.
    this.#job = new Cron(backupSchedule, { protect: true }, () => this.makeScheduled());
  }

  /** Ends; a backup under way is given up, and its folder is removed by a later one. */
  async stop(): Promise<void> {
    this.#job?.stop();
    this.#abort.abort();
    await this.#turn;
  }

  /**
   * Makes a backup now.
   * @param to Null: where the configuration says.
   * @throws StorageError, EnvironmentError, ConfigError
   */
  async make(to: string | null, isCompact: boolean, signal: AbortSignal): Promise<Backup> {
    const both = AbortSignal.any([signal, this.#abort.signal]);
    return await this.#inTurn((place) => this.#made(place, isCompact, both), to);
  }

  /** Makes one as the schedule does, and removes the oldest. Never throws: a failure is told. */
  async makeScheduled(): Promise<void> {
    const { signal } = this.#abort;
    if (!this.#right.isHeld) return;
    try {
      await this.#inTurn(async (place) => {
        await this.#made(place, true, signal);
        const { backupRetention } = this.#parts.config;
        const removed = await pruneBackups(place, backupRetention, Date.now(), signal);
        if (removed.length > 0) this.#log.info(`Removed the backups ${removed.join(", ")}`);
      }, null);
    } catch {
      // Told already where it happened.
    }
  }

  async #made(place: Backend, isCompact: boolean, signal: AbortSignal): Promise<Backup> {
    const backup = await makeBackup(this.#parts, place, isCompact, signal);
    this.#last.set(Date.parse(backup.info.madeAt) / 1000);
    const bytes = backup.info.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#log.info(`Backup ${backup.name} in ${place.label}: ${sizeText(bytes)}`);
    return backup;
  }

  async #inTurn<T>(work: (place: Backend) => Promise<T>, to: string | null): Promise<T> {
    const run = this.#turn.then(async () => {
      const { primary, backupTo } = this.#parts.config;
      const place = await openPlace(placeConfig(primary, to ?? backupTo), true);
      try {
        return await work(place);
      } finally {
        await place.close();
      }
    });
    this.#turn = run.catch((error) => {
      if (this.#abort.signal.aborted) return;
      this.#failures.inc();
      this.#log.error(`The backup failed: ${describeError(error)}`);
    });
    return await run;
  }
}
