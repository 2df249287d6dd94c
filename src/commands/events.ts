/**
 * `p4-cache events`: what happens to single files.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { counted } from "../counted.ts";
import { EVENT_KINDS, type FileEvent } from "../observe/event_feed.ts";
import { sizeText } from "../amounts.ts";
import { wholeNumber } from "./arguments.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `events [--follow] [--last n] [--only kind] [--json]`. */
export function addEventsCommand(program: Command, terminal: Terminal): void {
  const command = program.command("events")
    .description("tell what happens to files: written, uploaded, restored, evicted, failures")
    .option("--follow", "go on until interrupted")
    .option("--last <n>", "begin with so many that were", wholeNumber, 20)
    .addOption(new Option("--only <kind>", "one kind of event").choices(EVENT_KINDS))
    .option("--json", "as JSON: one event a line")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache events --follow\n  p4-cache events --last 2000 --only restore_failed\n",
    );
  addDepotOptions(command);
  type Options = DepotChoice & { follow?: boolean; last: number; only?: string; json?: boolean };
  command.action(async ({ follow = false, last, only, json, ...choice }: Options) => {
    await askDaemon(findDepot(choice), "events", { follow, last }, (value) => {
      const { events, missed } = value as { events: FileEvent[]; missed: number };
      if (missed > 0) {
        terminal.err(`p4-cache: ${counted(missed, "event")} left out: they came too quickly\n`);
      }
      for (const event of events) {
        if (only !== undefined && event.kind !== only) continue;
        terminal.out(json ? JSON.stringify(event) + "\n" : eventLine(event));
      }
    });
  });
}

function eventLine({ time, kind, path, bytes, seconds, why }: FileEvent): string {
  const facts = [
    bytes === null ? "" : sizeText(bytes),
    seconds === null ? "" : `${(seconds * 1000).toFixed(0)} ms`,
    why ?? "",
  ].filter((fact) => fact !== "").join(", ");
  // A name may have a line break in it.
  const name = path.replaceAll("\n", "\\n");
  return `${time}  ${kind.padEnd(14)}  ${name}${facts === "" ? "" : `  (${facts})`}\n`;
}
