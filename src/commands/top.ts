/**
 * `p4-cache top`: the daemon at work, drawn anew every second.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import { counted } from "../counted.ts";
import { ageText, sizeText } from "../amounts.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Time between two looks, ms. */
const LOOK_MS = 1000;

/** To the first cell, and clears what is below, so that nothing flickers (ECMA-48). */
const HOME = "\x1b[H\x1b[J";

/** Adds `top [--once]`. */
export function addTopCommand(program: Command, terminal: Terminal): void {
  const command = program.command("top")
    .description("show rates, busiest directories, slowest restores and recent errors, live")
    .option("--once", "print it once, as it does where nobody watches")
    .addHelpText("before", "Examples:\n  p4-cache top\n  p4-cache top --once\n");
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { once?: boolean }) => {
    const depot = findDepot(options);
    const isLive = terminal.isInteractive && options.once !== true;
    do {
      const text = topText(await askDaemon<Status>(depot, "status"));
      terminal.out(isLive ? HOME + text : text);
      if (isLive) await delay(LOOK_MS);
    } while (isLive);
  });
}

/** The whole screen. */
function topText(status: Status): string {
  const { files, cache, disk, activity, recent } = status;
  const { rates } = activity;
  const hits = activity.hitRatio === null ? "–" : `${(activity.hitRatio * 100).toFixed(1)} %`;
  const oldest = status.oldestDirtySeconds === null
    ? ""
    : `, oldest ${ageText(status.oldestDirtySeconds)}`;
  const drain = activity.drainSeconds === null || files.dirty + files.uploading === 0
    ? ""
    : `, done in about ${ageText(activity.drainSeconds)}`;
  const wrong = status.degraded.map(({ condition }) => condition).join(", ");
  return [
    `${status.depot}  ${status.state}${wrong && ` (${wrong})`}  up ${
      ageText(status.uptimeSeconds)
    }`,
    `cache ${sizeText(cache.bytes)} of ${sizeText(cache.maxBytes)}   disk ${
      sizeText(disk.freeBytes)
    } free   hits ${hits}`,
    `dirty ${counted(files.dirty + files.uploading, "file")}${oldest}${drain}`,
    "",
    row("up", rates.uploads, rates.uploadBytes) + "   " +
    row("down", rates.restores, rates.restoreBytes),
    `evictions ${rates.evictions}/s   opens ${rates.accesses}/s   requests of the shim ${rates.shimRequests}/s`,
    ...section(
      "Busiest directories (opens, last minutes)",
      activity.busiest.map(({ path, accesses }) => `${String(accesses).padStart(8)}  ${path}`),
    ),
    ...section(
      "Slowest restores",
      activity.slowest.map(({ path, seconds }) =>
        `${((seconds ?? 0) * 1000).toFixed(0).padStart(5)} ms  ${path}`
      ),
    ),
    ...section(
      "Recent warnings and errors",
      recent.slice(-5).map(({ time, message }) => `${time.slice(11, 19)}  ${message}`),
    ),
  ].map((line) => line.replaceAll("\n", " ") + "\n").join("");
}

function row(name: string, files: number, bytes: number): string {
  return `${name} ${files} files/s, ${sizeText(bytes)}/s`;
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", title, ...lines];
}
