/**
 * `p4-cache flush`: has every dirty file uploaded now.
 *
 * @module
 */

import type { Command } from "commander";
import type { FlushState } from "../admin/flush.ts";
import { counted } from "../counted.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { wholeNumber } from "./arguments.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `flush [--wait] [--timeout n] [--json]`; exit code 0 only when nothing is dirty. */
export function addFlushCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("flush")
    .description("upload every dirty file now; exit 1 while one is left")
    .option("--wait", "wait until nothing is dirty")
    .option("--timeout <seconds>", "wait no longer than this", wholeNumber)
    .option("--json", 'as JSON: {"dirty": files left, "searching": whether more may be found}')
    .addHelpText(
      "before",
      "Examples:\n  p4-cache flush --wait\n  p4-cache flush --wait --timeout 600 && echo safe\n",
    );
  addDepotOptions(command);
  type Options = DepotChoice & { wait?: boolean; timeout?: number; json?: boolean };
  command.action(async (options: Options) => {
    const wait = options.wait === true || options.timeout !== undefined;
    const timeoutMs = !wait ? 0 : options.timeout === undefined ? null : options.timeout * 1000;
    const progress = startProgress("files", 0);
    let most = 0;
    const onProgress = (value: unknown) => {
      const { dirty } = value as FlushState;
      most = Math.max(most, dirty);
      progress.update(most - dirty, most, "");
    };
    let state: FlushState;
    try {
      state = await askDaemon<FlushState>(findDepot(options), "flush", { timeoutMs }, onProgress);
    } finally {
      progress.stop();
    }
    const { dirty, searching } = state;
    if (options.json) terminal.out(JSON.stringify(state) + "\n");
    else if (dirty > 0) terminal.out(`${counted(dirty, "file is", "files are")} still dirty\n`);
    else if (searching) terminal.out("The depot is still searched for files that changed\n");
    else terminal.out("Every file is uploaded\n");
    setExitCode(dirty === 0 && !searching ? 0 : 1);
  });
}
