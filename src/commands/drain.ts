/**
 * `p4-cache drain` and `undrain`: hold eviction during maintenance.
 *
 * @module
 */

import type { Command } from "commander";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `drain [--reason text]` and `undrain`. */
export function addDrainCommands(program: Command, terminal: Terminal): void {
  const drain = program.command("drain")
    .description("evict nothing for maintenance, also after a restart; uploads go on")
    .option("--reason <text>", "shown by status", "maintenance")
    .addHelpText("before", "Examples:\n  p4-cache drain --reason 'rsync to the standby'\n");
  addDepotOptions(drain);
  drain.action(async (options: DepotChoice & { reason: string }) => {
    await askDaemon(findDepot(options), "drain", { reason: options.reason });
    terminal.out(`Nothing is evicted until 'p4-cache undrain' (${options.reason})\n`);
  });
  const undrain = program.command("undrain").description("evict again")
    .addHelpText("before", "Examples:\n  p4-cache undrain\n");
  addDepotOptions(undrain);
  undrain.action(async (options: DepotChoice) => {
    await askDaemon(findDepot(options), "drain", { reason: null });
    terminal.out("Eviction goes on\n");
  });
}
