/**
 * Values of the admin commands' options and arguments.
 *
 * @module
 */

import { InvalidArgumentError } from "commander";
import { basename, dirname } from "node:path/posix";
import { pathFromBytes, pathProblem } from "../depot_path.ts";
import { ConfigError, EnvironmentError } from "../errors.ts";

/** A number of an option. @throws InvalidArgumentError for anything but a whole number from 0. */
export function wholeNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("allowed is a whole number from 0");
}

/**
 * A path as people type it, below the depot: relative to the depot, or absolute. "." is the depot.
 * @returns The depot path, "" for the depot itself.
 * @throws ConfigError when it cannot lie in the depot.
 */
export function depotPathOf(typed: string, depot: string): string {
  const below = typed.startsWith("/") ? insideOf(typed, depot) ?? typed : typed;
  const text = below === "." ? "" : below.replace(/^\.\//, "").replace(/\/+$/, "");
  const path = pathFromBytes(new TextEncoder().encode(text));
  const problem = path === "" ? null : pathProblem(path);
  if (problem === null) return path;
  throw new ConfigError(
    `Cannot use '${typed}': ${problem}; allowed is a path below ${depot}, or relative to it`,
  );
}

/** What of an absolute path is below the depot; null when it is not. Both may be named by links. */
function insideOf(path: string, depot: string): string | null {
  for (const [name, dir] of [[path, depot], [realOf(path), realOf(depot)]] as const) {
    if (name === dir) return "";
    if (name.startsWith(`${dir}/`)) return name.slice(dir.length + 1);
  }
  return null;
}

/** The path without links, as far as it exists: an evicted file does not. */
function realOf(path: string): string {
  for (let there = path, rest = "";;) {
    try {
      return Deno.realPathSync(there) + rest;
    } catch {
      rest = `/${basename(there)}${rest}`;
      there = dirname(there);
    }
  }
}

/** For a path of which nothing is known: a slip of the pen must not pass for "all is well". */
export function nothingAt(typed: string): EnvironmentError {
  return new EnvironmentError(
    `Cannot find '${typed}': the depot has no such file or directory, here or in storage; ` +
      "paths begin at the depot",
  );
}
