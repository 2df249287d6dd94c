/**
 * `p4-cache run`: one daemon for each configuration of a directory, and what they share.
 *
 *   depots.d/a.json ─▶ DepotProcess ─▶ p4-cache --config a.json ─▶ its log, reports
 *   depots.d/b.json ─▶ DepotProcess ─▶ p4-cache --config b.json      │
 *                          ▲ shares                                  ▼
 *               Depots ─▶ Budgets ◀───────────────────────────────reports
 *
 * @module
 */

import type { ListenAddress } from "../config/listen_address.ts";
import { counted } from "../counted.ts";
import { writeAll } from "../observe/log_file.ts";
import { configureLogging, describeError, getLog } from "../observe/logging.ts";
import { ServiceManager } from "../observe/service_manager.ts";
import { HttpServer } from "../server/http_server.ts";
import type { DepotProcess } from "./run_depot.ts";
import { Depots } from "./run_depots.ts";
import { runPages } from "./run_pages.ts";
import type { Shares } from "./run_shares.ts";
import { listenToOperator, stopSignal } from "./signals.ts";

/** Time between two divisions of what is shared, ms. */
const LOOK_MS = 1000;

/** What `p4-cache run` is told. */
export interface RunOptions {
  readonly configDir: string;
  readonly logFormat: "text" | "json";
  /** What all depots share, now. */
  readonly total: () => Shares;
  readonly http: ListenAddress | null;
}

/**
 * Runs until SIGTERM or SIGINT; returns the exit code.
 * @throws ConfigError when there is nothing to run.
 * @throws EnvironmentError when the directory cannot be read.
 */
export async function runSupervisor(options: RunOptions): Promise<number> {
  const { configDir, logFormat, total, http } = options;
  const log = getLog("run");
  const output = configureLogging({
    verbose: false,
    logFile: null,
    logFormat,
    logLevel: null,
    logLevels: null,
    logMaxMib: 0,
    logKeep: 0,
  });
  const stopped = stopSignal();
  const operator = listenToOperator(output);
  const manager = new ServiceManager((name) => Deno.env.get(name), [Deno.pid], getLog("systemd"));
  const depots = new Depots({
    configDir,
    program: ownProgram(),
    total,
    onLine: (name, line) => writeAll(Deno.stderr, new TextEncoder().encode(named(name, line))),
    log,
  });
  const status = () => statusLine(depots.all);
  const server = http === null ? null : HttpServer.listen(http, runPages(() => depots.all));
  if (server !== null) log.info(`HTTP at ${server.url}`);
  depots.start();

  operator.onReload = () => {
    manager.reloading();
    let outcome = "Configurations read again";
    try {
      depots.reload();
      log.info(outcome);
    } catch (error) {
      outcome = `Configurations not read again, all stays as it is: ${describeError(error)}`;
      log.error(outcome);
    }
    manager.reloaded(outcome);
  };
  operator.onDump = () => log.info(status());
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
    Deno.addSignalListener(signal, () => depots.signal(signal));
  }
  const timer = setInterval(() => depots.look(), LOOK_MS);

  await Promise.race([depots.settled, stopped]);
  manager.ready(status);
  log.info(status());
  const signal = await stopped;
  log.info(`${signal}: stopping`);
  manager.stopping();
  await depots.stop();
  clearInterval(timer);
  await server?.close();
  log.info("Stopped");
  manager.close();
  return 0;
}

/** `3 depots: 2 serving, 1 failed (projects)`. */
export function statusLine(depots: readonly Pick<DepotProcess, "name" | "state">[]): string {
  const counts = (["serving", "starting", "failed", "stopped"] as const).map((state) => {
    const names = depots.filter((depot) => depot.state === state).map(({ name }) => name);
    if (names.length === 0) return null;
    return `${names.length} ${state}` + (state === "serving" ? "" : ` (${names.join(", ")})`);
  });
  return `${counted(depots.length, "depot")}: ${counts.filter((each) => each !== null).join(", ")}`;
}

/** A line of a depot's log, with the depot's name. */
export function named(name: string, line: string): string {
  if (line.startsWith("{")) return `{"depot":${JSON.stringify(name)},${line.slice(1)}\n`;
  return `[${name}] ${line}\n`;
}

/** As it is now: after an upgrade the running program's own file is under no name any more. */
function ownProgram(): readonly [string, ...string[]] {
  const path = Deno.execPath();
  return Deno.build.standalone ? [path] : [path, "run", "-A", Deno.mainModule];
}
