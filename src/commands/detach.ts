/**
 * Leaving the terminal: the program starts itself again in a new session, waits until that copy is
 * ready, and only then ends, so that `Type=forking` and scripts can rely on its exit code.
 *
 * The copy knows its starter by an environment variable and tells it readiness with SIGUSR1; the pid
 * file is complete by then.
 *
 * @module
 */

import { silence, startSession } from "../../ffi/session.ts";
import type { Config } from "../config/config.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { deletePidFile, writePidFile } from "./pid_file.ts";

/** Names the process that waits for readiness. */
const STARTER = "P4CACHE_STARTER_PID";

/** Whether this process is the detached copy. */
export function isDetached(): boolean {
  return Deno.env.has(STARTER);
}

/** The process that waits for our readiness; null where nobody detached us. */
export function starterPid(): number | null {
  return isDetached() ? Number(Deno.env.get(STARTER)) : null;
}

/** Called by the copy first of all: a hang-up of the terminal no longer reaches it. */
export function leaveTerminal(): void {
  startSession();
}

/**
 * Starts the daemon detached and waits until it is ready or has failed.
 * @param args the command line, as this process got it
 * @returns 0 once the daemon is ready, else the daemon's exit code; its error line is on stderr
 */
export async function detach(args: readonly string[], config: Config): Promise<number> {
  const ready = Promise.withResolvers<"ready">();
  const onReady = () => ready.resolve("ready");
  Deno.addSignalListener("SIGUSR1", onReady);
  const daemon = spawnCopy(args);
  const stop = () => daemon.kill("SIGTERM");
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  try {
    const outcome = await Promise.race([ready.promise, daemon.status]);
    if (outcome !== "ready") return outcome.code === 0 ? 1 : outcome.code;
    if (config.logFile === null && !keepsStderr()) {
      console.error("p4-cache: detached without --log-file: messages go nowhere from now on");
    }
    daemon.unref();
    return 0;
  } finally {
    Deno.removeSignalListener("SIGUSR1", onReady);
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGTERM", stop);
  }
}

/**
 * Says that the daemon serves: writes the pid file, and in a detached copy lets the starter end and
 * gives up the streams that were its caller's. Called once, when everything is up.
 * @throws EnvironmentError when the pid file cannot be written
 */
export function reportReady(config: Config): void {
  if (config.pidFile !== null) writePidFile(config.pidFile);
  if (!isDetached()) return;
  silence(config.logFile === null && keepsStderr() ? [0, 1] : [0, 1, 2]);
  // A starter that is gone has handed us to another parent, which must not be signalled.
  if (Deno.env.get(STARTER) === String(Deno.ppid)) Deno.kill(Deno.ppid, "SIGUSR1");
}

/** Called by the daemon at its end. */
export function removePidFile(config: Config): void {
  if (config.pidFile !== null) deletePidFile(config.pidFile);
}

function spawnCopy(args: readonly string[]): Deno.ChildProcess {
  // From source the executable is Deno itself, which has to be told what to run.
  const before = Deno.build.standalone ? [] : ["run", "-A", Deno.mainModule];
  try {
    return new Deno.Command(Deno.execPath(), {
      args: [...before, ...args],
      env: { [STARTER]: String(Deno.pid) },
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
  } catch (error) {
    throw new EnvironmentError(`Cannot detach: ${reasonOf(error)}`);
  }
}

/**
 * Whether messages on stderr still reach somebody after the caller is gone: the journal (a socket) or
 * a file. A pipe is let go, because its reader waits for the end of it; a terminal is left.
 */
function keepsStderr(): boolean {
  const stderr = Deno.statSync("/proc/self/fd/2");
  return stderr.isSocket === true || stderr.isFile;
}
