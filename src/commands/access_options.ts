/**
 * What people may say with every access query. Light: the command line is made at every start.
 *
 * @module
 */

import type { Command } from "commander";
import { ConfigError } from "../errors.ts";
import { wholeNumber } from "./arguments.ts";
import { addDepotOptions, type DepotChoice } from "./control_client.ts";

/** Options of every query. */
export interface QueryOptions extends DepotChoice {
  readonly db?: string;
  readonly limit?: number;
  readonly output?: string;
  readonly json?: boolean;
}

/** Declares them. They may stand before the query's name too. */
export function addQueryOptions(command: Command): Command {
  command
    .option("--db <dir>", "directory of the access log (default: .p4cache/access in the depot)")
    .option("--limit <n>", "at most so many rows", wholeNumber)
    .option("--output <file>", "write there instead of to standard output")
    .option("--json", "as JSON; rows as one object a line");
  return addDepotOptions(command);
}

const AGE = /^(\d{1,12})([smhdw])$/;
const UNIT_SECONDS: Readonly<Record<string, number>> = {
  s: 1,
  m: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/**
 * A moment as people give it: an age such as `30d` or `6h`, or seconds since the epoch.
 * @returns Seconds since the epoch.
 * @throws ConfigError naming the option.
 */
export function momentOf(text: string, option: string, nowSeconds: number): number {
  const age = AGE.exec(text);
  if (age !== null) return nowSeconds - Number(age[1]) * UNIT_SECONDS[age[2]!]!;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new ConfigError(
    `Cannot use ${option} '${text}': allowed is an age such as 30d, 6h, 15m or 2w, ` +
      "or seconds since 1970",
  );
}
