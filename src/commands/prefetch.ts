/**
 * `p4-cache prefetch` and `restore`: bring files back before p4d asks.
 *
 * @module
 */

import type { Command } from "commander";
import type { PrefetchState } from "../admin/prefetch.ts";
import { counted } from "../counted.ts";
import { ConfigError, reasonOf } from "../errors.ts";
import { sizeText } from "../amounts.ts";
import { depotPathOf } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { AT_HELP } from "./moments.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Paths sent in one request: well below what the daemon takes. */
const PATHS_AT_ONCE = 1000;

type Options = DepotChoice & { json?: boolean };

/** Adds `prefetch path…|@file|-` and `restore path…`. */
export function addPrefetchCommands(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const run = async (typed: readonly string[], options: Options) => {
    const state = await fetchAll(findDepot(options), await pathsOf(typed));
    if (options.json) terminal.out(JSON.stringify(state) + "\n");
    else {
      for (const problem of state.problems) terminal.err(`p4-cache: Cannot restore ${problem}\n`);
      terminal.out(`On the disk: ${counted(state.files, "file")} (${sizeText(state.bytes)})`);
      terminal.out(state.failed === 0 ? "\n" : `, ${state.failed} failed\n`);
    }
    setExitCode(state.failed === 0 ? 0 : 1);
  };
  const prefetch = program.command("prefetch")
    .argument("[path...]", "files and directories; @file or - reads them, one a line")
    .option("--hot <size>", "instead of paths: what was opened last, so much; the same as warm")
    .description("bring files back before they are needed")
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache prefetch main/src\n  p4-cache prefetch @/tmp/files\n" +
        "  p4-cache ls --only remote main | p4-cache prefetch -\n",
    );
  addDepotOptions(prefetch);
  prefetch.action(async (typed: readonly string[], options: Options & { hot?: string }) => {
    if ((options.hot === undefined) === (typed.length === 0)) {
      throw new ConfigError("Cannot prefetch: give either paths or --hot");
    }
    if (options.hot === undefined) return await run(typed, options);
    const { warm } = await import("./warm.ts");
    await warm(options, terminal, setExitCode);
  });
  const restore = program.command("restore")
    .argument("<path...>", "files and directories")
    .description("bring evicted files back; the same as prefetch, unless --at is given")
    .option("--at <time>", `one file ${AT_HELP}; the depot's own stays as it is`)
    .option("--to <file>", "with --at: write it there, instead of to standard output")
    .option("--json", "as JSON")
    .addHelpText("before", "Examples:\n  p4-cache restore main/src/a.c,v\n");
  addDepotOptions(restore);
  type RestoreOptions = Options & { at?: string; to?: string };
  restore.action(async (typed: readonly string[], options: RestoreOptions) => {
    const { at } = options;
    if (at === undefined && options.to !== undefined) {
      throw new ConfigError("Cannot restore to another file without --at");
    }
    if (at === undefined) return await run(typed, options);
    const { restoreThen } = await import("./point_in_time.ts");
    await restoreThen({ ...options, at }, typed, terminal);
  });
}

async function fetchAll(depot: string, typed: readonly string[]): Promise<PrefetchState> {
  const paths = typed.map((path) => depotPathOf(path, depot));
  const all: PrefetchState = { files: 0, bytes: 0, failed: 0, problems: [] };
  // How many files a directory stands for is known at the end only.
  const isOne = paths.length === 1;
  const progress = startProgress(isOne ? "files" : "paths", isOne ? 0 : paths.length);
  try {
    for (let at = 0; at < paths.length; at += PATHS_AT_ONCE) {
      const tell = (state: PrefetchState) => {
        const files = all.files + state.files, bytes = sizeText(all.bytes + state.bytes);
        // Most lists are of files. Where they are of directories, the lot's last path waits for it.
        const most = Math.min(PATHS_AT_ONCE, paths.length - at) - 1;
        const done = at + Math.min(state.files + state.failed, most);
        progress.update(
          isOne ? files : done,
          null,
          isOne ? bytes : `${counted(files, "file")}, ${bytes}`,
        );
      };
      const state = await askDaemon<PrefetchState>(
        depot,
        "prefetch",
        { paths: paths.slice(at, at + PATHS_AT_ONCE) },
        (value) => tell(value as PrefetchState),
      );
      all.files += state.files;
      all.bytes += state.bytes;
      all.failed += state.failed;
      all.problems.push(...state.problems);
    }
    progress.update(isOne ? all.files : paths.length, null, sizeText(all.bytes));
  } finally {
    progress.stop();
  }
  return all;
}

/** The paths themselves, those in files, those on standard input. */
async function pathsOf(typed: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const each of typed) {
    if (each !== "-" && !each.startsWith("@")) paths.push(each);
    else paths.push(...linesOf(await textOf(each)));
  }
  return paths;
}

async function textOf(typed: string): Promise<string> {
  if (typed === "-") return await new Response(Deno.stdin.readable).text();
  try {
    return await Deno.readTextFile(typed.slice(1));
  } catch (error) {
    throw new ConfigError(`Cannot read ${typed.slice(1)}: ${reasonOf(error)}`);
  }
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}
