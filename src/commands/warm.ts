/**
 * `p4-cache warm`: brings back what was opened last, until so much of it is on the disk.
 *
 * @module
 */

import type { Command } from "commander";
import type { PrefetchState } from "../admin/prefetch.ts";
import type { Status } from "../admin/status.ts";
import type { RecentFile } from "../access/most_recent.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { sizeOf, sizeText } from "../amounts.ts";
import { askDaemon, findDepot } from "./control_client.ts";
import { addQueryOptions, type QueryOptions } from "./access_options.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Files that are remembered of the access log: some hundred MiB at most. */
const REMEMBERED = 1_000_000;

/** Files of one request: after each the amount is looked at. */
const AT_ONCE = 200;

/** Share of the low watermark that is filled unless said otherwise: p4d's own work needs room too. */
const DEFAULT_SHARE = 0.8;

/** Adds `warm [--hot size]`. */
export function addWarmCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("warm")
    .description("bring back the files that were opened last, for a cache that is empty or new")
    .option("--hot <size>", "so much, as 10GB; else 80 % of the low watermark")
    .addHelpText("before", "Examples:\n  p4-cache warm\n  p4-cache warm --hot 10GB\n");
  addQueryOptions(command);
  command.action((options: WarmOptions) => warm(options, terminal, setExitCode));
}

/** What `warm` and `prefetch --hot` are told. */
export interface WarmOptions extends QueryOptions {
  readonly hot?: string;
}

/** Brings back what was opened last. */
export async function warm(
  options: WarmOptions,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): Promise<void> {
  const asked = options.hot === undefined ? null : sizeOf(options.hot, "--hot");
  const depot = findDepot(options);
  const status = await askDaemon<Status>(depot, "status");
  const low = status.cache.lowWatermarkBytes;
  const wanted = asked ?? Math.floor(low * DEFAULT_SHARE);
  if (wanted > low) {
    throw new ConfigError(
      `Cannot warm ${sizeText(wanted)}: files above ${sizeText(low)} are evicted again; ` +
        "allowed is at most low_watermark_gb",
    );
  }
  const state = await fetchUntil(wanted, await recentFiles(options), depot);
  if (options.json) terminal.out(JSON.stringify(state) + "\n");
  else {
    for (const problem of state.problems) terminal.err(`p4-cache: Cannot restore ${problem}\n`);
    const failed = state.failed === 0 ? "" : `, ${state.failed} failed`;
    terminal.out(
      `On the disk: ${counted(state.files, "file")} (${sizeText(state.bytes)}) of those opened ` +
        `last${failed}\n`,
    );
  }
  setExitCode(state.failed === 0 ? 0 : 1);
}

async function recentFiles(options: QueryOptions): Promise<RecentFile[]> {
  const { runQuery, walk } = await import("./access_query.ts");
  const { MostRecent } = await import("../access/most_recent.ts");
  const recent = new MostRecent(options.limit ?? REMEMBERED);
  // The query's own output is not used.
  await runQuery({ ...options, output: "/dev/null" }, async (query) => {
    await walk(query, new Uint8Array(0), ({ path, seconds }) => recent.add(path, seconds));
  });
  return recent.finish();
}

async function fetchUntil(
  wanted: number,
  files: readonly RecentFile[],
  depot: string,
): Promise<PrefetchState> {
  const all: PrefetchState = { files: 0, bytes: 0, failed: 0, problems: [] };
  const progress = startProgress("bytes", wanted);
  try {
    for (let at = 0; at < files.length && all.bytes < wanted; at += AT_ONCE) {
      const paths = files.slice(at, at + AT_ONCE).map(({ path }) => path);
      const state = await askDaemon<PrefetchState>(depot, "prefetch", { paths });
      all.files += state.files;
      all.bytes += state.bytes;
      // A file that was deleted since it was opened last is not missed.
      const problems = state.problems.filter((text) => !text.includes("no such file"));
      all.failed += problems.length;
      all.problems.push(...problems);
      progress.update(Math.min(all.bytes, wanted), null, counted(all.files, "file"));
    }
  } finally {
    progress.stop();
  }
  return all;
}
