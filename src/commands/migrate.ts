/**
 * `p4-cache migrate`: copies what only the secondary has to the primary.
 *
 * @module
 */

import type { Command } from "commander";
import type { MigrationState } from "../admin/migration.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { sizeText } from "../amounts.ts";
import { wholeNumber } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { type Progress, startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Objects copied side by side unless said otherwise: p4d's restores go on beside them. */
const AT_ONCE = 8;

interface Options extends DepotChoice {
  readonly dryRun?: boolean;
  readonly bandwidth?: string;
  readonly concurrency: number;
  readonly readBack?: boolean;
  readonly json?: boolean;
}

/** Adds `migrate [--dry-run] [--bandwidth rate]`; exit code 1 while something is left. */
export function addMigrateCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("migrate")
    .description("copy what only the secondary has to the primary; exit 1 while something is left")
    .option("--dry-run", "only compare, and say what would be copied")
    .option("--bandwidth <rate>", "bytes a second, as 50MB; beside the daemon's own limits")
    .option("--concurrency <n>", "objects side by side", wholeNumber, AT_ONCE)
    .option("--read-back", "read every copy back, and compare its content")
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache migrate --dry-run\n  p4-cache migrate --bandwidth 50MB\n",
    );
  addDepotOptions(command);
  command.action(async (options: Options) => {
    const { concurrency } = options;
    if (concurrency < 1 || concurrency > 256) {
      throw new ConfigError(
        `Cannot use --concurrency ${concurrency}: allowed is a number from 1 to 256`,
      );
    }
    const parameters = {
      dryRun: options.dryRun === true,
      atOnce: concurrency,
      readBack: options.readBack === true,
      bandwidth: options.bandwidth ?? null,
    };
    let progress: Progress | null = null;
    let state: MigrationState;
    try {
      state = await askDaemon<MigrationState>(
        findDepot(options),
        "migrate",
        parameters,
        (value) => {
          const now = value as MigrationState;
          // How much there is to do is known only after the comparison.
          if (now.phase !== "copying") return;
          progress ??= startProgress("bytes", now.missingBytes);
          progress.update(now.copiedBytes, null, `${now.copied} of ${now.missing} objects`);
        },
      );
    } finally {
      (progress as Progress | null)?.stop();
    }
    if (options.json) terminal.out(JSON.stringify(state) + "\n");
    else {
      for (const problem of state.problems) terminal.err(`p4-cache: Cannot copy ${problem}\n`);
      terminal.out(report(state));
    }
    setExitCode(state.dryRun || (state.left === 0 && state.failed === 0) ? 0 : 1);
  });
}

function report(state: MigrationState): string {
  const { objects, missing, missingBytes, copied, copiedBytes, deleted, waiting, failed } = state;
  const compared =
    `${counted(objects, "object")} of the secondary compared: the primary lacks ${missing} ` +
    `(${sizeText(missingBytes)}), of deleted files: ${deleted}\n`;
  if (state.dryRun) return compared;
  const lines = compared +
    `${copied} copied (${sizeText(copiedBytes)}), ${counted(waiting, "waits", "wait")} for ` +
    `something under way, ${failed} failed\n`;
  if (state.left !== 0 || failed > 0) {
    return lines + `Left: ${state.left ?? "some"}; run it again\n`;
  }
  return lines + "The primary has everything: the secondary can be removed\n";
}
