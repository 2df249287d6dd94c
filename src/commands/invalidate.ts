/**
 * `p4-cache invalidate`: a replica compares or fetches copies anew.
 *
 * @module
 */

import type { Command } from "commander";
import type { InvalidateState } from "../admin/invalidating.ts";
import { counted } from "../counted.ts";
import { ConfigError } from "../errors.ts";
import { momentOf } from "./access_options.ts";
import { depotPathOf } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

interface Options extends DepotChoice {
  readonly since?: string;
  readonly json?: boolean;
}

/** Adds `invalidate path…|--since time`; exit code 0 also when copies that are in use stay. */
export function addInvalidateCommand(program: Command, terminal: Terminal): void {
  const command = program.command("invalidate")
    .argument("[path...]", "files and directories")
    .description("on a replica: trust copies no longer; they are compared or fetched when opened")
    .option(
      "--since <when>",
      "copies brought here since: an age (30d, 6h, 15m) or seconds since 1970",
    )
    .option("--json", "as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache invalidate main/src\n  p4-cache invalidate --since 2h\n",
    );
  addDepotOptions(command);
  command.action(async (typed: string[], options: Options) => {
    const { since } = options;
    if ((since === undefined) === (typed.length === 0)) {
      throw new ConfigError("Cannot invalidate: give either paths or --since");
    }
    const depot = findDepot(options);
    const wish = since === undefined
      ? { paths: typed.map((path) => depotPathOf(path, depot)) }
      : { sinceSeconds: momentOf(since, "--since", Math.floor(Date.now() / 1000)) };
    const state = await askDaemon<InvalidateState>(depot, "invalidate", wish);
    if (options.json) return terminal.out(JSON.stringify(state) + "\n");
    for (const { path, reason } of state.reasons) {
      terminal.err(`p4-cache: ${path.replaceAll("\n", "\\n")} stays on the disk: ${reason}\n`);
    }
    terminal.out(
      `${
        counted(state.dropped, "copy", "copies")
      } dropped, ${state.stayed} to be compared when opened\n`,
    );
  });
}
