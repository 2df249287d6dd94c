/**
 * One depot under `p4-cache run`: a daemon in a process of its own, started again when it ends.
 *
 * What goes wrong stays in that process. It is told to end by closing its standard input, never by a
 * signal: a second signal, as from a terminal or systemd, would cut its last uploads short.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { delay } from "deno-std/async/delay.js";
import { TextLineStream } from "deno-std/streams/mod.js";
import type { Config } from "../config/config.ts";
import { describeError } from "../observe/logging.ts";
import type { DepotFile } from "./depot_files.ts";
import { NO_LIMIT, type Shares } from "./run_shares.ts";
import { type Report, SUPERVISED } from "./supervised.ts";

/** Wait after a failure, ms: doubled by each, up to the most. */
const FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 60_000;

/** A daemon that served for so long has not failed in a row, ms. */
const STEADY_MS = 60_000;

/** A daemon that reported, and then is silent for so many looks, hangs. */
const SILENT_LOOKS = 60;

/** What is for the supervisor alone. */
const NOT_FOR_DAEMONS = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/** How it stands with a depot. */
export type DepotState = "starting" | "serving" | "failed" | "stopped";

/** What a depot's process needs. */
export interface DepotParts {
  readonly file: DepotFile;
  /** Program and arguments that stand before the daemon's own. */
  readonly program: readonly [string, ...string[]];
  /** The configuration, if it may be used now. @throws Error that says why not. */
  readonly load: () => Config;
  readonly firstShares: () => Shares;
  /** A line of the daemon's log. */
  readonly onLine: (line: string) => void;
  readonly onChange: () => void;
  readonly log: Logger;
}

/** See the module. */
export class DepotProcess {
  readonly #parts: DepotParts;
  #child: Deno.ChildProcess | null = null;
  #input: WritableStreamDefaultWriter<Uint8Array> | null = null;
  #wake = new AbortController();
  #isStopping = false;
  #hasStarted = false;
  #silentLooks = 0;
  #lastLine = "";
  #sent: Shares | null = null;
  state: DepotState = "starting";
  /** Why it failed the last time. */
  why = "";
  /** Starts of the daemon after the first. */
  restarts = 0;
  /** With which the daemon was started last: it keeps its place while it is started again. */
  config: Config | null = null;
  report: Report | null = null;
  readonly done: Promise<void>;

  constructor(parts: DepotParts) {
    this.#parts = parts;
    this.done = this.#run();
  }

  get name(): string {
    return this.#parts.file.name;
  }

  /** Process of the daemon; null while none runs. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** The most that it may still be using: what it said last, and what it was told since. */
  get held(): Shares {
    if (this.#child === null) return { up: 0, down: 0, memory: 0 };
    const known = this.report?.shares ?? NO_LIMIT, sent = this.#sent ?? NO_LIMIT;
    const most = (a: number | null, b: number | null) => Math.max(a ?? 0, b ?? 0);
    return {
      up: most(known.up, sent.up),
      down: most(known.down, sent.down),
      memory: most(known.memory, sent.memory),
    };
  }

  /** Tells the daemon its shares. */
  share(shares: Shares): void {
    if (JSON.stringify(shares) === JSON.stringify(this.#sent)) return;
    this.#sent = shares;
    const line = new TextEncoder().encode(JSON.stringify(shares) + "\n");
    this.#input?.write(line).catch(() => {}); // it ended: that is noticed elsewhere
  }

  /** Called from time to time: ends a daemon that has stopped to report. */
  look(): void {
    if (this.report === null || ++this.#silentLooks < SILENT_LOOKS) return;
    this.#parts.log.error(`'${this.name}' does not answer any more: it is killed`);
    this.signal("SIGKILL");
  }

  signal(signal: Deno.Signal): void {
    try {
      this.#child?.kill(signal);
    } catch {
      // It ended in this moment.
    }
  }

  /** The configuration may be another one: reads it again, or tries again at once. */
  reload(): void {
    if (this.#child === null) this.#wake.abort();
    else this.signal("SIGHUP");
  }

  /** Lets the daemon come to its end; {@link done} resolves then. */
  stop(): void {
    this.#isStopping = true;
    this.#wake.abort();
    this.#input?.close().catch(() => {}); // it ended already
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#isStopping;) {
      const startedMs = Date.now();
      this.#become("starting");
      const why = await this.#serve().catch(describeError);
      if (this.#isStopping) break;
      failures = Date.now() - startedMs > STEADY_MS ? 1 : failures + 1;
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
      // Told once, not with every attempt.
      if (why !== this.why || failures === 1) {
        this.#parts.log.error(
          `'${this.name}' failed: ${why}; it is tried again, the next time in ${pauseMs / 1000} s`,
        );
      }
      this.why = why;
      this.#become("failed");
      this.#wake = new AbortController();
      await delay(pauseMs, { signal: this.#wake.signal }).catch(() => {}); // stop() or reload()
    }
    this.#become("stopped");
  }

  #become(state: DepotState): void {
    this.state = state;
    this.#parts.onChange();
  }

  /** Runs a daemon to its end; returns why it ended. */
  async #serve(): Promise<string> {
    const { file, program: [command, ...before], load, firstShares } = this.#parts;
    this.config = null;
    const config = load();
    const env = Object.fromEntries(
      Object.entries(Deno.env.toObject()).filter(([name]) => !NOT_FOR_DAEMONS.includes(name)),
    );
    const child = new Deno.Command(command, {
      args: [...before, "--config", file.path],
      clearEnv: true,
      env: { ...env, [SUPERVISED]: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#child = child;
    if (this.#hasStarted) this.restarts++;
    this.#hasStarted = true;
    this.#input = child.stdin.getWriter();
    this.#sent = null;
    this.#silentLooks = 0;
    this.config = config;
    this.share(firstShares());
    try {
      await Promise.all([this.#readReports(child.stdout), this.#readLog(child.stderr)]);
      const { code, signal } = await child.status;
      return `${signal === null ? `exit code ${code}` : `ended by ${signal}`}` +
        (this.#lastLine === "" ? "" : ` (${this.#lastLine})`);
    } finally {
      this.#child = this.report = null;
      this.#input.close().catch(() => {}); // closed by stop()
      this.#input = null;
    }
  }

  async #readReports(stdout: ReadableStream<Uint8Array>): Promise<void> {
    for await (const line of linesOf(stdout)) {
      try {
        this.report = JSON.parse(line);
      } catch {
        this.#parts.onLine(line); // what a library prints is no report
        continue;
      }
      this.#silentLooks = 0;
      if (this.state === "starting") this.#become("serving");
    }
  }

  async #readLog(stderr: ReadableStream<Uint8Array>): Promise<void> {
    for await (const line of linesOf(stderr)) {
      this.#lastLine = line;
      this.#parts.onLine(line);
    }
  }
}

function linesOf(stream: ReadableStream<Uint8Array>): ReadableStream<string> {
  return stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
    .pipeThrough(new TextLineStream());
}
