/**
 * `p4-cache restore-manifest`: puts the manifest of a backup in the place of a lost or damaged one.
 *
 * @module
 */

import type { Command } from "commander";
import type { RestoreReport } from "../backup/restore_manifest.ts";
import { counted } from "../counted.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import { timeOf } from "./moments.ts";
import type { Terminal } from "./terminal.ts";

interface Options {
  readonly at?: string;
  readonly from?: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Adds `restore-manifest [--at time] [--from place] [--dry-run] [--force] [daemon flags]`. */
export function addRestoreManifestCommand(program: Command, terminal: Terminal): void {
  const command = program.command("restore-manifest")
    .description("put the manifest of a backup in the place of a lost or damaged one")
    .option("--at <time>", "the latest backup of then or before (default: the latest of all)")
    .option("--from <place>", "where the backups are (default: backup_to)")
    .option("--dry-run", "only say what it would mean for the depot as it is")
    .option("--force", "even if the manifest that is there can be read")
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache restore-manifest --dry-run --config /etc/p4-cache/config.json\n" +
        "  p4-cache restore-manifest --dry-run --from /mnt/backup/p4-cache " +
        "--config /etc/p4-cache/config.json\n",
    );
  addDaemonFlags(command);
  command.action(async (options: Options) => {
    const { loadServiceConfig } = await import("./service_environment.ts");
    const flags = flagsOf(program, command);
    const config = await loadServiceConfig(flags);
    const { openPlaceOf } = await import("./backup.ts");
    const { putManifestBack } = await import("../backup/put_manifest_back.ts");
    const { chooseBackup } = await import("../backup/backup_set.ts");
    const signal = new AbortController().signal;
    const place = await openPlaceOf(config, options.from);
    try {
      const at = options.at === undefined ? null : timeOf(options.at, "--at");
      const backup = await chooseBackup(place, at, signal);
      const isDry = options.dryRun === true;
      if (!options.json) {
        terminal.out(
          `Backup ${backup.name} of ${place.label}, ${counted(backup.info.tracked, "file")}\n`,
        );
      }
      const put = await putManifestBack(
        { config, place, backup, tell: options.json ? () => {} : terminal.err },
        { isDry, isForced: options.force === true },
        signal,
      );
      if (options.json) {
        terminal.out(JSON.stringify({ backup: backup.name, dryRun: isDry, ...put }) + "\n");
      } else {
        terminal.out(summary(put.report, isDry));
        if (put.replaced !== null) terminal.out(`The one before is kept as ${put.replaced}\n`);
        if (put.accessLog) terminal.out("The access log came with it\n");
      }
    } finally {
      await place.close();
    }
  });
}

function summary(report: RestoreReport, isDry: boolean): string {
  const lines = [
    `${counted(report.known, "file is", "files are")} here as it knows them`,
    `${counted(report.changed, "file")} here, new or touched since: to be uploaded again`,
    `${
      counted(report.missing, "file")
    } not here, evicted since or deleted: restored when asked for`,
    `${
      counted(report.tombstonesKept, "deletion still holds", "deletions still hold")
    }; ${report.tombstonesDropped} may be out of date ` +
    "and are forgotten",
  ];
  if (report.trash > 0) {
    lines.push(
      `Into .p4cache/conflicts/: ${counted(report.trash, "file")} of evictions that did not end`,
    );
  }
  for (const dir of report.ambiguous) {
    lines.push(`${dir} was renamed since, and another directory has its name: look at it`);
  }
  lines.push(
    isDry
      ? "Nothing was changed"
      : "The manifest is in place; the next start compares the whole depot with it",
  );
  return lines.map((line) => line + "\n").join("");
}
