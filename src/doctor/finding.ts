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

/** All is well. */
export function ok(check: string, what: string): Finding {
  return { check, level: "OK", what, fix: null };
}

/** It works, and may not for long, or not as well as it could. @param fix What to do. */
export function warn(check: string, what: string, fix: string): Finding {
  return { check, level: "WARN", what, fix };
}

/** It does not work. @param fix What to do. */
export function fail(check: string, what: string, fix: string): Finding {
  return { check, level: "FAIL", what, fix };
}

/** It could not be looked at, or there is nothing to look at. @param what Why. */
export function skip(check: string, what: string): Finding {
  return { check, level: "SKIP", what, fix: null };
}
