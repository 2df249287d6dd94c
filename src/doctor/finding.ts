/**
 * What a check of `p4-cache doctor` found.
 *
 * @module
 */

/** OK; something that will bite one day; something that does not work now; not to be told from here. */
export type Level = "OK" | "WARN" | "FAIL" | "SKIP";

/** One line of the report. Names are a stable promise. */
export interface Finding {
  /** What was looked at: `disk`. */
  readonly check: string;
  readonly level: Level;
  /** What was found, and why. */
  readonly what: string;
  /** What to do; null where nothing has to be done. */
  readonly fix: string | null;
}

export function ok(check: string, what: string): Finding {
  return { check, level: "OK", what, fix: null };
}

export function warn(check: string, what: string, fix: string): Finding {
  return { check, level: "WARN", what, fix };
}

export function fail(check: string, what: string, fix: string): Finding {
  return { check, level: "FAIL", what, fix };
}

export function skip(check: string, what: string): Finding {
  return { check, level: "SKIP", what, fix: null };
}
