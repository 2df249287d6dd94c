/**
 * `p4-cache evict`: let files go from the disk now.
 *
 * @module
 */

import type { Command } from "commander";
import type { EvictState } from "../admin/evicting.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { sizeOf, sizeText } from "../amounts.ts";
import { depotPathOf } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

interface Options extends DepotChoice {
  readonly bytes?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** Adds `evict path…|--bytes n`; exit code 1 when a file that was named stays. */
export function addEvictCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("evict")
    .argument("[path...]", "files and directories")
    .description("take files from the disk; what is dirty, pinned or in use stays")
    .option("--bytes <size>", "the coldest files, so much as 10GB, instead of paths")
    .option("--dry-run", "only say what would go")
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache evict --dry-run main/old\n  p4-cache evict main/old\n" +
        "  p4-cache evict --bytes 10GB\n",
    );
  addDepotOptions(command);
  command.action(async (typed: string[], options: Options) => {
    const { dryRun = false } = options;
    if ((options.bytes === undefined) === (typed.length === 0)) {
      throw new ConfigError("Cannot evict: give either paths or --bytes");
    }
    const bytes = options.bytes === undefined ? undefined : sizeOf(options.bytes, "--bytes");
    const depot = findDepot(options);
    const wish = bytes === undefined
      ? { paths: typed.map((path) => depotPathOf(path, depot)) }
      : { bytes };
    const progress = startProgress("bytes", bytes ?? 0);
    let state: EvictState;
    try {
      state = await askDaemon<EvictState>(depot, "evict", { ...wish, dryRun }, (value) => {
        const { bytes: done, evicted } = value as EvictState;
        progress.update(done, Math.max(bytes ?? 0, done), counted(evicted, "file"));
      });
    } finally {
      progress.stop();
    }
    if (options.json) terminal.out(JSON.stringify(state) + "\n");
    else tell(state, terminal);
    setExitCode(state.stayed === 0 ? 0 : 1);
  });
}

function tell({ dryRun, evicted, bytes, stayed, reasons }: EvictState, terminal: Terminal): void {
  for (const { path, reason } of reasons) {
    terminal.err(`p4-cache: ${path.replaceAll("\n", "\\n")} stays: ${reason}\n`);
  }
  const did = dryRun ? "would be evicted" : "evicted";
  const more = stayed === 0 ? "" : `, ${stayed} ${dryRun ? "would stay" : "stayed"}`;
  terminal.out(`${counted(evicted, "file")} (${sizeText(bytes)}) ${did}${more}\n`);
}
