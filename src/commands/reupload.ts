/**
 * `p4-cache reupload`: uploads again what the storage lost and the disk still has.
 *
 * @module
 */

import type { Command } from "commander";
import type { ReuploadState } from "../admin/reupload.ts";
import type { Status } from "../admin/status.ts";
import { counted } from "../counted.ts";
import { sizeText } from "../amounts.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `reupload [--dry-run] [--json]`. */
export function addReuploadCommand(program: Command, terminal: Terminal): void {
  const command = program.command("reupload")
    .description("upload again what the storage lost, as far as it is on the disk")
    .option("--dry-run", "only compare, and say what would be uploaded")
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache reupload --dry-run\n  p4-cache reupload && p4-cache flush --wait\n",
    );
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { dryRun?: boolean; json?: boolean }) => {
    const depot = findDepot(options);
    const { files } = await askDaemon<Status>(depot, "status");
    const progress = startProgress("files", files.total);
    let state: ReuploadState;
    try {
      const parameters = { dryRun: options.dryRun === true };
      state = await askDaemon<ReuploadState>(depot, "reupload", parameters, (value) => {
        const now = value as ReuploadState;
        progress.update(now.files, null, `${now.lacking} to upload`);
      });
    } finally {
      progress.stop();
    }
    if (options.json) return terminal.out(JSON.stringify(state) + "\n");
    const { lacking, lackingBytes } = state;
    terminal.out(
      `${counted(state.files, "file")} compared: the storage lacks ${lacking} (${
        sizeText(lackingBytes)
      })\n` +
        (state.dryRun || lacking === 0
          ? ""
          : "They are uploaded now; 'p4-cache flush --wait' waits for it\n"),
    );
  });
}
