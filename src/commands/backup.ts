/**
 * `p4-cache backup`, `backup list`, `backup verify`: copies of the manifest and the access log.
 *
 * @module
 */

import type { Command } from "commander";
import { isAbsolute, resolve } from "node:path/posix";
import type { Backup } from "../backup/backup_set.ts";
import type { Config } from "../config/config.ts";
import { counted } from "../counted.ts";
import type { Backend } from "../storage/backend.ts";
import { ageText, sizeText } from "../amounts.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import { timeOf } from "./moments.ts";
import type { Terminal } from "./terminal.ts";

const PLACES = "a directory, or s3://, gs:// or azure:// bucket/prefix (default: backup_to)";

type SetExitCode = (code: number) => void;

/** Adds `backup [--compact] [--to place]`, `backup list` and `backup verify [time]`. */
export function addBackupCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: SetExitCode,
): void {
  const backup = program.command("backup")
    .description("copy manifest, access log and configuration to where they survive the disk")
    .option("--compact", "without unused pages: smaller, and slower to make")
    .option("--to <place>", PLACES)
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache backup --compact\n  p4-cache backup --to /mnt/backup/p4-cache\n" +
        "  p4-cache backup list --config /etc/p4-cache/config.json\n" +
        "  p4-cache backup verify --config /etc/p4-cache/config.json\n",
    );
  addDepotOptions(backup);
  type Options = DepotChoice & { compact?: boolean; to?: string; json?: boolean };
  backup.action(async (options: Options) => {
    const to = options.to === undefined ? null : absolute(options.to);
    const parameters = { to, compact: options.compact === true };
    const made = await askDaemon<Backup>(findDepot(options), "backup", parameters);
    terminal.out(options.json ? JSON.stringify(made) + "\n" : `Made ${line(made)}`);
  });
  addList(program, backup, terminal);
  addVerify(program, backup, terminal, setExitCode);
}

function addList(program: Command, backup: Command, terminal: Terminal): void {
  const list = backup.command("list")
    .description("list the backups, the oldest first")
    .option("--from <place>", PLACES)
    .option("--json", "one JSON object a line")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache backup list --config /etc/p4-cache/config.json\n",
    );
  addDaemonFlags(list);
  list.action(async (options: { from?: string; json?: boolean }) => {
    const { listFolders, readInfo } = await import("../backup/backup_set.ts");
    const signal = new AbortController().signal;
    await withPlace([program, backup, list], options.from, async (place) => {
      const { whole } = await listFolders(place, signal);
      for (const name of whole) {
        const found = { name, info: await readInfo(place, name, signal) };
        terminal.out(options.json ? JSON.stringify(found) + "\n" : line(found));
      }
      if (whole.length === 0 && !options.json) terminal.out(`No backups in ${place.label}\n`);
    });
  });
}

function addVerify(
  program: Command,
  backup: Command,
  terminal: Terminal,
  setExitCode: SetExitCode,
): void {
  const verify = backup.command("verify")
    .argument("[time]", "the latest backup of then or before; without it, the latest of all")
    .description("read a backup whole and compare it with its checksums; exit 1 when it differs")
    .option("--from <place>", PLACES)
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache backup verify --config /etc/p4-cache/config.json\n" +
        "  p4-cache backup verify --from /mnt/backup/p4-cache --config /etc/p4-cache/config.json\n",
    );
  addDaemonFlags(verify);
  verify.action(async (time: string | undefined, options: { from?: string; json?: boolean }) => {
    const { chooseBackup } = await import("../backup/backup_set.ts");
    const { verifyBackup } = await import("../backup/read_backup.ts");
    const signal = new AbortController().signal;
    await withPlace([program, backup, verify], options.from, async (place) => {
      const at = time === undefined ? null : timeOf(time, "time");
      const chosen = await chooseBackup(place, at, signal);
      const problems = await verifyBackup(place, chosen, signal);
      if (options.json) terminal.out(JSON.stringify({ ...chosen, problems }) + "\n");
      else if (problems.length === 0) terminal.out(`Whole: ${line(chosen)}`);
      for (const problem of options.json ? [] : problems) terminal.err(`p4-cache: ${problem}\n`);
      setExitCode(problems.length === 0 ? 0 : 1);
    });
  });
}

/** Opens the place that the option, or the configuration, names. */
async function withPlace(
  commands: readonly Command[],
  from: string | undefined,
  work: (place: Backend) => Promise<void>,
): Promise<void> {
  const { loadServiceConfig } = await import("./service_environment.ts");
  const flags = flagsOf(...commands);
  const config = await loadServiceConfig(flags);
  const place = await openPlaceOf(config, from);
  try {
    await work(place);
  } finally {
    await place.close();
  }
}

/** The place that the option, or the configuration, names, to read from. */
export async function openPlaceOf(config: Config, from: string | undefined): Promise<Backend> {
  const { openPlace } = await import("../backup/backup_place.ts");
  const { placeConfig } = await import("../config/place_config.ts");
  const to = from === undefined ? config.backupTo : absolute(from);
  return await openPlace(placeConfig(config.primary, to), false);
}

function absolute(place: string): string {
  return isAbsolute(place) || place.includes("://") ? place : resolve(Deno.cwd(), place);
}

function line({ name, info }: Backup): string {
  const bytes = info.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const age = ageText(Math.max(0, (Date.now() - Date.parse(info.madeAt)) / 1000));
  return `${name}  ${sizeText(bytes)}, ${counted(info.tracked, "file")} tracked, ${age} ago\n`;
}
