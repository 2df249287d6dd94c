/**
 * `p4-cache pin`, `unpin` and `pins`: files that eviction leaves alone.
 *
 * @module
 */

import type { Command } from "commander";
import { depotPathOf } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

type Options = DepotChoice & { json?: boolean };

/** Adds `pin path…`, `unpin path…` and `pins`. */
export function addPinCommands(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const pin = program.command("pin")
    .argument("<path...>", "files; directories with all below")
    .description("never evict these; files that are evicted come back when they are read")
    .addHelpText("before", "Examples:\n  p4-cache pin main/src/\n  p4-cache pin main/a.c,v\n");
  pin.option("--json", 'as JSON: {"pins": […]}');
  addDepotOptions(pin);
  pin.action(async (typed: string[], options: Options) => {
    const { pins } = await ask("pin", typed, options);
    if (options.json) return terminal.out(JSON.stringify({ pins }) + "\n");
    terminal.out(pins.map((each) => `${each} is pinned\n`).join(""));
  });
  const unpin = program.command("unpin")
    .argument("<path...>", "as they were pinned")
    .description("take pins back")
    .addHelpText("before", "Examples:\n  p4-cache unpin main/release\n");
  unpin.option("--json", 'as JSON: {"pins": taken back […], "unknown": […]}');
  addDepotOptions(unpin);
  unpin.action(async (typed: string[], options: Options) => {
    const { pins, unknown } = await ask("unpin", typed, options);
    if (options.json) terminal.out(JSON.stringify({ pins, unknown }) + "\n");
    else terminal.out(pins.map((each) => `${each} is no longer pinned\n`).join(""));
    for (const each of unknown) terminal.err(`p4-cache: ${each} is not pinned\n`);
    setExitCode(unknown.length === 0 ? 0 : 1);
  });
  const list = program.command("pins").description("list the pins")
    .option("--json", "as JSON: one pin a line")
    .addHelpText("before", "Examples:\n  p4-cache pins\n");
  addDepotOptions(list);
  list.action(async (options: Options) => {
    await askDaemon(findDepot(options), "pins", {}, (page) => {
      for (const each of page as string[]) {
        terminal.out((options.json ? JSON.stringify(each) : each) + "\n");
      }
    });
  });
}

interface Answer {
  readonly pins: string[];
  readonly unknown: string[];
}

function ask(route: string, typed: readonly string[], options: DepotChoice): Promise<Answer> {
  const depot = findDepot(options);
  const paths = typed.map((path) => {
    const below = depotPathOf(path, depot);
    return below !== "" && path.endsWith("/") ? below + "/" : below;
  });
  return askDaemon<Answer>(depot, route, { paths });
}
