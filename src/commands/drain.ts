/**
 * `p4-cache drain` and `undrain`: hold eviction during maintenance.
 *
 * @module
 */

import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

const JSON_HELP = 'as JSON: {"drained": the reason, or null}';

type Options = DepotChoice & { json?: boolean };

/** Adds `drain [--reason text]` and `undrain`. */
export function addDrainCommands(program: Command, terminal: Terminal): void {
  const drain = program.command("drain")
    .description("evict nothing for maintenance, also after a restart; uploads go on")
    .option("--reason <text>", "shown by status", "maintenance")
    .option("--json", JSON_HELP)
    .addHelpText("before", "Examples:\n  p4-cache drain --reason 'rsync to the standby'\n");
  const run = async (options: Options, reason: string | null, text: string) => {
    const { drained } = await askDaemon<Status>(findDepot(options), "drain", { reason });
    terminal.out(options.json ? JSON.stringify({ drained }) + "\n" : text);
  };
  addDepotOptions(drain);
  drain.action((options: Options & { reason: string }) =>
    run(
      options,
      options.reason,
      `Nothing is evicted until 'p4-cache undrain' (${options.reason})\n`,
    )
  );
  const undrain = program.command("undrain").description("evict again")
    .option("--json", JSON_HELP)
    .addHelpText("before", "Examples:\n  p4-cache undrain\n");
  addDepotOptions(undrain);
  undrain.action((options: Options) => run(options, null, "Eviction goes on\n"));
}
