/**
 * Reads the configuration again while the daemon runs (SIGHUP, `systemctl reload`): what can take
 * effect does, what cannot is named, and a wrong configuration changes nothing.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { Config } from "../config/config.ts";
import { changesOf, type ConfigChanges, takeOver } from "../config/live.ts";
import { describeError } from "../observe/logging.ts";
import type { ServiceManager } from "../observe/service_manager.ts";
import type { Prepared, Storage } from "./storage.ts";

/** What a reload works on. */
export interface ReloadParts {
  /** In force. */
  readonly config: Config;
  /** Reads the configuration as at start. @throws ConfigError */
  readonly load: () => Config;
  readonly storage: Pick<Storage, "prepare">;
  readonly manager: Pick<ServiceManager, "reloading" | "reloaded">;
  readonly log: Logger;
  /** Called when the live settings changed. */
  readonly onChanged: (changes: ConfigChanges) => Promise<void> | void;
  /** Called after each reload. */
  readonly onDone: (ok: boolean) => void;
}

/** See the module's description. */
export class Reloader {
  readonly #parts: ReloadParts;
  #running: Promise<void> | null = null;
  #again = false;

  constructor(parts: ReloadParts) {
    this.#parts = parts;
  }

  /** Reloads once, or once more when a reload is under way. Never throws. */
  request(): Promise<void> {
    this.#again = true;
    this.#running ??= (async () => {
      while (this.#again) {
        this.#again = false;
        await this.#reload();
      }
    })().finally(() => this.#running = null);
    return this.#running;
  }

  async #reload(): Promise<void> {
    const { manager, log, onDone } = this.#parts;
    manager.reloading();
    let outcome: string;
    let ok = true;
    try {
      outcome = await this.#apply();
      log.info(outcome);
    } catch (error) {
      ok = false;
      outcome = `Configuration not reloaded, the old one stays in force: ${describeError(error)}`;
      log.error(outcome);
    }
    onDone(ok);
    manager.reloaded(outcome);
  }

  /** Nothing is changed before everything new has shown to work. */
  async #apply(): Promise<string> {
    const { config, load, storage, log, onChanged } = this.#parts;
    const next = load();
    for (const warning of next.warnings) log.warning(warning);
    const changes = changesOf(config, next);
    const prepared: Prepared[] = [];
    try {
      for (const [role, backend] of changes.backends) {
        prepared.push(await storage.prepare(role, backend));
      }
    } catch (error) {
      for (const each of prepared) await each.drop();
      throw error;
    }
    takeOver(config, next, changes);
    for (const each of prepared) each.use();
    if (changes.live.length > 0) await onChanged(changes);
    if (changes.restart.length > 0) {
      log.warning(
        `Changed, but only in force after a restart: ${changes.restart.join(", ")}`,
      );
    }
    return changes.live.length === 0
      ? "Configuration reloaded: no setting that takes effect at once is another one"
      : `Configuration reloaded: ${changes.live.join(", ")}`;
  }
}
