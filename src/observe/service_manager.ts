/**
 * Tells systemd, or whoever started us with `NOTIFY_SOCKET`, how we are: ready, reloading, stopping,
 * alive (sd_notify(3), sd_watchdog_enabled(3)). Without that variable nothing is told.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { NotifySocket } from "../../ffi/notify.ts";
import { describeError } from "./logging.ts";

/** Time between two status lines, ms. */
const STATUS_MS = 10_000;

/** While we start or stop, the manager is asked this often for as much patience again twice over, ms. */
const PATIENCE_MS = 10_000;

/** See the module's description. */
export class ServiceManager {
  readonly #socket: NotifySocket | null;
  readonly #log: Logger;
  readonly #timers = new Set<number>();
  readonly #watchdogMs: number | null;
  #patience: number | null = null;
  #status: number | null = null;
  #failed = false;
  #isReady = false;

  /**
   * Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
   * @param pids Processes we may be known as: ourselves, and the one that detached us.
   */
  constructor(env: (name: string) => string | undefined, pids: readonly number[], log: Logger) {
    const name = env("NOTIFY_SOCKET") ?? "";
    // Other kinds of sockets are possible (vsock), but not to this machine's manager.
    this.#socket = /^[/@]./.test(name) ? new NotifySocket(name) : null;
    this.#log = log;
    const us = Number(env("WATCHDOG_USEC") ?? "");
    const watchedPid = env("WATCHDOG_PID");
    const isWatched = us > 0 && (watchedPid === undefined || pids.includes(Number(watchedPid)));
    this.#watchdogMs = isWatched ? us / 1000 : null;
    this.#waitForUs();
  }

  /** Whether we serve: from the start's end to the stop's begin. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** We serve. @param status One line that says how it stands, asked again and again. */
  ready(status: () => string): void {
    this.#isReady = true;
    this.#end(this.#patience);
    this.#send(`READY=1\nMAINPID=${Deno.pid}\nSTATUS=${status()}`);
    this.#status = this.#every(STATUS_MS, () => `STATUS=${status()}`);
    // From the event loop: a daemon that hangs does not get there. Half the time, as systemd asks for.
    if (this.#watchdogMs !== null) this.#every(this.#watchdogMs / 2, () => "WATCHDOG=1");
  }

  /** A new configuration is being read; {@link reloaded} must follow. */
  reloading(): void {
    // Type=notify-reload refuses the message without the time.
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${this.#socket?.monotonicUs() ?? 0n}`);
  }

  /** @param status How it ended, in one line. */
  reloaded(status: string): void {
    this.#send(`READY=1\nSTATUS=${status}`);
  }

  /** We end; status lines end too, the watchdog is still told that we live. */
  stopping(): void {
    this.#isReady = false;
    this.#end(this.#status);
    this.#send("STOPPING=1\nSTATUS=Stopping: transfers under way are finished");
    this.#waitForUs();
  }

  close(): void {
    for (const timer of this.#timers) this.#end(timer);
    this.#socket?.close();
  }

  /** A recount of a large manifest, or the last uploads, may take longer than the unit allows. */
  #waitForUs(): void {
    const extend = () => `EXTEND_TIMEOUT_USEC=${PATIENCE_MS * 3 * 1000}`;
    this.#patience = this.#every(PATIENCE_MS, extend);
  }

  #end(timer: number | null): void {
    if (timer === null) return;
    clearInterval(timer);
    this.#timers.delete(timer);
  }

  #every(ms: number, message: () => string): number | null {
    if (this.#socket === null) return null;
    const timer = setInterval(() => this.#send(message()), ms);
    Deno.unrefTimer(timer);
    this.#timers.add(timer);
    return timer;
  }

  #send(message: string): void {
    try {
      this.#socket?.send(message.replaceAll(/[^\x20-\x7e\n]/g, "?"));
    } catch (error) {
      if (!this.#failed) this.#log.warning(`Nobody hears us: ${describeError(error)}`);
      this.#failed = true;
    }
  }
}
