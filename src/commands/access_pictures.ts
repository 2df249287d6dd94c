/**
 * `p4-cache access top` and `hist`: the access log at a glance.
 *
 * @module
 */

import { jsonPath, timeText } from "../access/access_format.ts";
import { AgeHistogram, drawBars } from "../access/age_histogram.ts";
import { type DirectoryHeat, HotDirectories } from "../access/hot_directories.ts";
import { displayPath } from "../depot_path.ts";
import { type Query, walk } from "./access_query.ts";

/** Directories shown unless `--limit` says otherwise. */
const TOP_ROWS = 20;

/** Width where the terminal does not tell its own, characters. */
const COLUMNS = 80;

/**
 * Shows the directories with the most files opened since a moment.
 * @param depth See {@link HotDirectories}.
 */
export async function showTop(
  query: Query,
  prefix: Uint8Array,
  sinceSeconds: number,
  depth: number,
): Promise<void> {
  const { output, options } = query;
  const hot = new HotDirectories(sinceSeconds, depth, options.limit ?? TOP_ROWS);
  await walk(query, prefix, ({ path, seconds }) => hot.add(path, seconds));
  const directories = hot.finish();
  if (!options.json) output.write("    RECENT      FILES  LAST ACCESS           DIRECTORY\n");
  for (const directory of directories) {
    output.write(options.json ? asJson(directory) : asLine(directory));
  }
}

function asJson({ path, files, recent, lastSeconds }: DirectoryHeat): string {
  const { path: directory, ...rest } = jsonPath(path);
  return JSON.stringify({ directory, ...rest, recent, files, last_access: timeText(lastSeconds) }) +
    "\n";
}

function asLine({ path, files, recent, lastSeconds }: DirectoryHeat): string {
  const name = path === "" ? "." : displayPath(path);
  return `${String(recent).padStart(10)} ${String(files).padStart(10)}  ` +
    `${timeText(lastSeconds)}  ${name}\n`;
}

/** Shows how long ago files were opened. */
export async function showHistogram(
  query: Query,
  prefix: Uint8Array,
  nowSeconds: number,
): Promise<void> {
  const { output, options } = query;
  const histogram = new AgeHistogram(nowSeconds);
  await walk(query, prefix, ({ seconds }) => histogram.add(seconds));
  const bars = histogram.bars();
  if (!options.json) return output.write(drawBars(bars, columns()));
  for (const { belowSeconds, entries } of bars) {
    output.write(JSON.stringify({ below_seconds: belowSeconds, entries }) + "\n");
  }
}

function columns(): number {
  try {
    return Deno.consoleSize().columns;
  } catch {
    return COLUMNS; // not a terminal
  }
}
