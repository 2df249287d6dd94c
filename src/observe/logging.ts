/**
 * Logging: one plain line per event, to stderr (the journal) or a file.
 *
 *     2026-01-31T12:00:00.000Z INFO daemon: Serving /mnt/nvme/depot …
 *
 * @module
 */

import { configure, getLogger, type Logger, type LogRecord } from "@logtape/logtape";
import { EnvironmentError } from "../errors.ts";

/** Mode of a log file that is created. */
const LOG_FILE_MODE = 0o640;

const LEVELS = {
  trace: "TRACE",
  debug: "DEBUG",
  info: "INFO",
  warning: "WARN",
  error: "ERROR",
  fatal: "FATAL",
};

/** Where lines go. */
export interface LogOutput {
  /** Follows a log file that was rotated away; goes on with the old one, and says so, if it cannot. */
  reopen(): void;
}

/**
 * Sets up logging for the process.
 * @throws EnvironmentError when the log file cannot be opened.
 */
export async function configureLogging(
  options: { readonly verbose: boolean; readonly logFile: string | null },
): Promise<LogOutput> {
  const { logFile } = options;
  let target = openTarget(logFile);
  await configure({
    reset: true,
    sinks: { lines: (record) => writeLine(target, formatRecord(record)) },
    loggers: [
      {
        category: ["p4cache"],
        sinks: ["lines"],
        lowestLevel: options.verbose ? "debug" : "info",
      },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "error" },
    ],
  });
  return {
    reopen: () => {
      if (logFile === null) return;
      const old = target as Deno.FsFile;
      try {
        target = openTarget(logFile);
      } catch (error) {
        getLog("log").error(describeError(error));
        return;
      }
      old.close();
    },
  };
}

interface LineTarget {
  writeSync(bytes: Uint8Array): number;
}

function openTarget(logFile: string | null): LineTarget {
  if (logFile === null) return Deno.stderr;
  try {
    return Deno.openSync(logFile, { append: true, create: true, mode: LOG_FILE_MODE });
  } catch (error) {
    throw new EnvironmentError(
      `Cannot open the log file ${logFile}: ${(error as Error).message}; ` +
        `give a writable place with --log-file`,
    );
  }
}

function writeLine(target: LineTarget, line: string): void {
  try {
    let rest: Uint8Array = new TextEncoder().encode(line + "\n");
    while (rest.length > 0) rest = rest.subarray(target.writeSync(rest));
  } catch {
    // A full disk or a closed pipe must not end the daemon, and there is nowhere left to say so.
  }
}

/** One line for a record. Messages are literal text but for control characters, see {@link oneLine}. */
export function formatRecord(record: LogRecord): string {
  const { rawMessage } = record;
  const message = typeof rawMessage === "string" ? rawMessage : record.message.join("");
  const time = new Date(record.timestamp).toISOString();
  const module = record.category.slice(1).join(".");
  return `${time} ${LEVELS[record.level]} ${module}: ${oneLine(message)}`;
}

/** Line breaks become spaces, other control characters `\xNN`: a file's name cannot forge a line. */
function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ").replaceAll(
    // deno-lint-ignore no-control-regex
    /[\x00-\x1f\x7f]/g,
    (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
  );
}

/** The logger of one module of the program. */
export function getLog(module: string): Logger {
  return getLogger(["p4cache", module]);
}

/** One line for an error: its message and those of its causes; never a stack. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && at !== null && parts.length < 5;) {
    const message = at instanceof Error ? at.message || at.name : String(at);
    if (!parts.some((part) => part.includes(message))) parts.push(message);
    at = at instanceof Error ? at.cause : null;
  }
  return oneLine(parts.join(": "));
}

/**
 * Lets a message through at most once in `intervalMs`; the next one says how many were left out.
 * Returns null for those left out.
 */
export function createRepeatLimiter(
  intervalMs: number,
  nowMs: () => number = Date.now,
): (message: string) => string | null {
  const last = new Map<string, { atMs: number; leftOut: number }>();
  return (message) => {
    const seen = last.get(message);
    if (seen !== undefined && nowMs() - seen.atMs < intervalMs) {
      seen.leftOut++;
      return null;
    }
    last.delete(message);
    if (last.size >= 1000) last.delete(last.keys().next().value!);
    last.set(message, { atMs: nowMs(), leftOut: 0 });
    return seen === undefined || seen.leftOut === 0
      ? message
      : `${message} (${seen.leftOut} more like it)`;
  };
}
