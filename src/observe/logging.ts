/**
 * Logging: one plain line per event, to stderr (the journal) or a file.
 *
 *     2026-01-31T12:00:00.000Z INFO daemon: Serving /mnt/nvme/depot …
 *     {"time":"2026-01-31T12:00:00.000Z","level":"info","module":"daemon","message":"Serving …"}
 *
 * @module
 */

import {
  configureSync,
  getLogger,
  type Logger,
  type LoggerConfig,
  type LogRecord,
} from "@logtape/logtape";
import { type LogLevel, type LogModule, parseLogLevels } from "../config/log_levels.ts";
import { LogFile, type RotationLimits, writeAll } from "./log_file.ts";

/** Warnings and errors that are remembered for those who look at the daemon. */
const RECENT = 50;

const MIB = 1024 * 1024;

const LEVELS = {
  trace: "TRACE",
  debug: "DEBUG",
  info: "INFO",
  warning: "WARN",
  error: "ERROR",
  fatal: "FATAL",
};

/** The part of the settings that logging has; see `daemon_settings.ts`. */
export interface LogOptions {
  readonly verbose: boolean;
  readonly logFile: string | null;
  readonly logFormat: "text" | "json";
  /** Null: info, or debug when verbose. */
  readonly logLevel: LogLevel | null;
  /** As `log_levels.ts` reads it. */
  readonly logLevels: string | null;
  /** 0: no rotation of our own. */
  readonly logMaxMib: number;
  readonly logKeep: number;
}

/** A warning or error that was logged. */
export interface RecentLine {
  readonly time: string;
  readonly level: "warning" | "error";
  readonly module: string;
  readonly message: string;
}

/** Where lines go. */
export interface LogOutput {
  /** Follows a log file that was rotated away; goes on with the old one, and says so, if it cannot. */
  reopen(): void;
  /** Takes other levels, another format and other limits; the file stays. */
  apply(options: LogOptions): void;
  /** The latest warnings and errors, the oldest first. */
  readonly recent: readonly RecentLine[];
}

/**
 * Sets up logging for the process.
 * @throws EnvironmentError when the log file cannot be opened.
 */
export function configureLogging(options: LogOptions): LogOutput {
  const file = options.logFile === null ? null : new LogFile(options.logFile, rotation(options));
  const recent: RecentLine[] = [];
  const apply = (changed: LogOptions) => {
    file?.limit(rotation(changed));
    const format = changed.logFormat === "json" ? formatJson : formatRecord;
    const sink = (record: LogRecord) => {
      const line = format(record) + "\n";
      if (file === null) writeAll(Deno.stderr, new TextEncoder().encode(line));
      else file.write(line);
      remember(recent, record);
    };
    configureSync({ reset: true, sinks: { lines: sink }, loggers: loggers(changed) });
  };
  apply(options);
  const reopen = () => {
    try {
      file?.reopen();
    } catch (error) {
      getLog("log").error(describeError(error));
    }
  };
  return { reopen, apply, recent };
}

function rotation({ logMaxMib, logKeep }: LogOptions): RotationLimits {
  return { maxBytes: logMaxMib * MIB, keep: logKeep };
}

function loggers(options: LogOptions): LoggerConfig<"lines", string>[] {
  const lowestLevel = options.logLevel ?? (options.verbose ? "debug" : "info");
  const modules = options.logLevels === null ? null : parseLogLevels(options.logLevels);
  return [
    { category: ["p4cache"], sinks: ["lines"], lowestLevel },
    { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "error" },
    // Not through the parent, which would hold back what is below its own level.
    ...Array.from(modules ?? [], ([module, level]) => ({
      category: ["p4cache", module],
      sinks: ["lines" as const],
      parentSinks: "override" as const,
      lowestLevel: level,
    })),
  ];
}

function remember(recent: RecentLine[], record: LogRecord): void {
  const { level } = record;
  if (level !== "warning" && level !== "error") return;
  const { time, module, message } = parts(record);
  recent.push({ time, level, module, message });
  if (recent.length > RECENT) recent.shift();
}

/** One line for a record. Messages are literal text but for control characters, see {@link oneLine}. */
function formatRecord(record: LogRecord): string {
  const { time, module, message } = parts(record);
  return `${time} ${LEVELS[record.level]} ${module}: ${message}`;
}

/** The same as a JSON object. */
function formatJson(record: LogRecord): string {
  const { time, module, message } = parts(record);
  return JSON.stringify({ time, level: record.level, module, message });
}

function parts(record: LogRecord): { time: string; module: string; message: string } {
  const { rawMessage } = record;
  const message = typeof rawMessage === "string" ? rawMessage : record.message.join("");
  const time = new Date(record.timestamp).toISOString();
  return { time, module: record.category.slice(1).join("."), message: oneLine(message) };
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
export function getLog(module: LogModule): Logger {
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
