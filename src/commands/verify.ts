/**
 * `p4-cache verify`: whether disk, manifest and storage tell the same.
 *
 * @module
 */

import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import type { VerifyProgress, VerifyState } from "../admin/verify.ts";
import { displayPath } from "../depot_path.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { sizeText } from "../amounts.ts";
import { depotPathOf, nothingAt, wholeNumber } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import { startProgress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";

/** As a program ends that SIGINT killed. */
const EXIT_INTERRUPTED = 128 + 2;

interface Options extends DepotChoice {
  readonly deep?: boolean;
  readonly sample?: number;
  readonly after?: string;
  readonly json?: boolean;
}

/** Adds `verify [path] [--deep] [--sample percent]`; exit code 1 on a finding. */
export function addVerifyCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("verify")
    .argument("[path]", "only what is below it", ".")
    .description("compare disk, manifest and storage; exit 1 on a finding; changes nothing")
    .option("--deep", "read contents too, here and in the storage")
    .option("--sample <percent>", "read only so many files in a hundred", wholeNumber)
    .option("--after <path>", "go on behind this file, which an interrupted run named")
    .option("--json", "as JSON: one finding a line, then the totals")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache verify\n  p4-cache verify --deep --sample 1\n" +
        "  p4-cache verify --deep main/release\n",
    );
  addDepotOptions(command);
  command.action(async (typed: string, options: Options) => {
    const { deep = false, sample = 100 } = options;
    if (sample < 1 || sample > 100) {
      throw new ConfigError(`Cannot use --sample ${sample}: allowed is a number from 1 to 100`);
    }
    const depot = findDepot(options);
    const { files } = await askDaemon<Status>(depot, "status");
    const progress = startProgress("files", files.total);
    const after = options.after === undefined ? "" : depotPathOf(options.after, depot);
    const parameters = { path: depotPathOf(typed, depot), deep, percent: sample, after };
    let at = after;
    const interrupted = () => {
      progress.stop();
      if (at !== "") terminal.err(`p4-cache: Interrupted; --after '${displayPath(at)}' goes on\n`);
      Deno.exit(EXIT_INTERRUPTED);
    };
    Deno.addSignalListener("SIGINT", interrupted);
    let state: VerifyState;
    try {
      state = await askDaemon<VerifyState>(depot, "verify", parameters, (value) => {
        const { found, ...now } = value as VerifyProgress;
        at = now.at;
        for (const finding of found) {
          terminal.out(
            options.json
              ? JSON.stringify(finding) + "\n"
              : `${finding.kind}  ${finding.path.replaceAll("\n", "\\n")}: ${finding.what}\n`,
          );
        }
        const note = `${counted(now.findings, "finding")}, ${sizeText(now.bytes)} read`;
        progress.update(now.files, Math.max(files.total, now.files), note);
      });
    } finally {
      Deno.removeSignalListener("SIGINT", interrupted);
      progress.stop();
    }
    if (state.files === 0 && parameters.path !== "" && after === "") throw nothingAt(typed);
    terminal.out(
      options.json
        ? JSON.stringify(state) + "\n"
        : `${counted(state.files, "file")} compared, ${state.read} read (${
          sizeText(state.bytes)
        }), ` +
          `${counted(state.findings, "finding")}\n`,
    );
    setExitCode(state.findings === 0 ? 0 : 1);
  });
}
