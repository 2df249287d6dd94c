/**
 * `p4-cache ls` and `queue`: which files there are, and what waits for upload.
 *
 * @module
 */

import { type Command, Option } from "commander";
import type { ListedFile, Place, QueuedFile } from "../admin/listing.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { ageText, sizeText } from "../amounts.ts";
import { depotPathOf, nothingAt, wholeNumber } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { AT_HELP } from "./moments.ts";
import type { Terminal } from "./terminal.ts";

const PLACES: readonly Place[] = ["dirty", "clean", "remote"];

/** Adds `ls [-l] [--only place] [--json] [path]`. */
export function addLsCommand(program: Command, terminal: Terminal): void {
  const command = program.command("ls")
    .argument("[path]", "file or directory; everything without it", ".")
    .description("list files: dirty, clean (here and in storage) or remote (in storage only)")
    .option("-l, --long", "with place, size and last access")
    .addOption(
      new Option("--only <place>", "only these files; local: dirty and clean")
        .choices([...PLACES, "local"]),
    )
    .option("--at <time>", AT_HELP)
    .option("--json", "one JSON object a line")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache ls -l main/src\n  p4-cache ls --only remote --json | wc -l\n",
    );
  addDepotOptions(command);
  type Options = DepotChoice & { long?: boolean; only?: string; at?: string; json?: boolean };
  command.action(async (typed: string, options: Options) => {
    const { only, at } = options;
    if (at !== undefined) {
      if (only !== undefined) throw new ConfigError("Cannot list with --at and --only together");
      const { listThen } = await import("./point_in_time.ts");
      return await listThen({ ...options, at }, typed, terminal);
    }
    const depot = findDepot(options);
    const shown = (file: ListedFile) =>
      only === undefined || (only === "local" ? file.place !== "remote" : file.place === only);
    const line = (file: ListedFile) =>
      options.json ? JSON.stringify(file) : options.long ? longLine(file) : file.path;
    const path = depotPathOf(typed, depot);
    const remote = only === undefined || only === "remote";
    let isEmpty = true;
    await askDaemon(
      depot,
      "list",
      { path, remote },
      (page) => {
        isEmpty &&= (page as ListedFile[]).length === 0;
        const lines = (page as ListedFile[]).filter(shown).map((file) => line(file) + "\n");
        terminal.out(lines.join(""));
      },
    );
    if (isEmpty && remote && path !== "") throw nothingAt(typed);
  });
}

function longLine({ path, place, size, lastAccess }: ListedFile): string {
  const time = lastAccess === null ? "-" : new Date(lastAccess * 1000).toISOString().slice(0, 16);
  return `${place.padEnd(6)} ${String(size).padStart(14)} ${time.padEnd(16)} ${path}`;
}

/** Adds `queue [--limit n] [--json]`. */
export function addQueueCommand(program: Command, terminal: Terminal): void {
  const command = program.command("queue")
    .description("show what waits for upload, oldest first")
    .option("--limit <n>", "files to show", wholeNumber, 20)
    .option("--json", "as JSON")
    .addHelpText("before", "Examples:\n  p4-cache queue\n  p4-cache queue --limit 1000 --json\n");
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { limit: number; json?: boolean }) => {
    const queue = await askDaemon<{ total: number; files: QueuedFile[] }>(
      findDepot(options),
      "queue",
      { limit: Math.max(1, options.limit) },
    );
    if (options.json) return terminal.out(JSON.stringify(queue) + "\n");
    for (const { path, size, dirtySeconds, uploading } of queue.files) {
      const age = (uploading ? "uploading" : ageText(dirtySeconds)).padEnd(10);
      terminal.out(`${age} ${sizeText(size).padStart(10)} ${path}\n`);
    }
    terminal.out(`${counted(queue.total, "file is", "files are")} dirty\n`);
  });
}
