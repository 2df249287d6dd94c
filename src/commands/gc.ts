/**
 * `p4-cache gc`: lists and removes the objects of deleted files whose grace is over.
 *
 * @module
 */

import type { Command } from "commander";
import type { GarbageObject, GarbageReport } from "../admin/garbage.ts";
import { counted } from "../counted.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `gc [--dry-run] [--json]`; exit code 1 when an object could not be removed. */
export function addGcCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("gc")
    .description("remove the objects of deleted files that are due (delete_policy tombstone)")
    .option("--dry-run", "only list them")
    .option("--json", "as JSON: one object a line, then the totals")
    .addHelpText("before", "Examples:\n  p4-cache gc --dry-run\n  p4-cache gc\n");
  addDepotOptions(command);
  type Options = DepotChoice & { dryRun?: boolean; json?: boolean };
  command.action(async (options: Options) => {
    const tell = (value: unknown) => {
      for (const { path, deletedAt } of value as GarbageObject[]) {
        const time = new Date(deletedAt * 1000).toISOString().replace(".000Z", "Z");
        terminal.out(
          options.json ? JSON.stringify({ path, deletedAt }) + "\n" : `${time}  ${path}\n`,
        );
      }
    };
    const dryRun = options.dryRun === true;
    const report = await askDaemon<GarbageReport>(findDepot(options), "gc", { dryRun }, tell);
    terminal.out(options.json ? JSON.stringify(report) + "\n" : summary(report));
    setExitCode(report.failed === 0 ? 0 : 1);
  });
}

function summary({ policy, dryRun, objects, waiting, failed }: GarbageReport): string {
  if (policy === "keep") return "Nothing is removed: delete_policy is keep\n";
  if (dryRun) return `${counted(objects, "object is", "objects are")} due\n`;
  const more =
    (waiting > 0 ? `, ${counted(waiting, "waits", "wait")} for something under way` : "") +
    (failed > 0 ? `, ${failed} failed` : "");
  return `${counted(objects, "object")} removed${more}\n`;
}
