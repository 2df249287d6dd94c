/**
 * Log levels of single modules, as people write them: `upload=debug, evict=warning`.
 *
 * @module
 */

/** Levels, the talkative ones first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warning", "error"] as const;
/** One of {@link LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** The modules of the program that log. */
export const LOG_MODULES = [
  "access",
  "admin",
  "backup",
  "config",
  "daemon",
  "evict",
  "feed",
  "gc",
  "health",
  "intake",
  "lease",
  "log",
  "peer",
  "rename",
  "replica",
  "restore",
  "run",
  "scan",
  "scrub",
  "settle",
  "stats",
  "systemd",
  "upload",
] as const;
/** One of {@link LOG_MODULES}. */
export type LogModule = typeof LOG_MODULES[number];

/** Reads the text; null when it names no level, or a module that does not exist or comes twice. */
export function parseLogLevels(text: string): ReadonlyMap<LogModule, LogLevel> | null {
  const levels = new Map<LogModule, LogLevel>();
  for (const part of text.split(",")) {
    const [name, level, ...more] = part.split("=").map((word) => word.trim());
    const module = LOG_MODULES.find((known) => known === name);
    const known = LOG_LEVELS.find((each) => each === level);
    if (module === undefined || known === undefined || more.length > 0) return null;
    if (levels.has(module)) return null;
    levels.set(module, known);
  }
  return levels;
}
