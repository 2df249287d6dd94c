/**
 * `p4-cache status`: what the daemon is doing.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import { ageText, sizeText } from "./amounts.ts";
import { addDepotOptions, askDaemon, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Time between two looks of `--watch`, ms. */
const WATCH_MS = 1000;

/** Clears the screen and goes to its first cell (ECMA-48). */
const CLEAR = "\x1b[2J\x1b[H";

/** Adds `status [--watch] [--json]`. */
export function addStatusCommand(program: Command, terminal: Terminal): void {
  const command = program.command("status")
    .description("show what the daemon is doing")
    .option("--json", "as JSON; its names are a stable promise")
    .option("--watch", "again every second, until interrupted")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache status\n  p4-cache status --json | jq .files.dirty\n",
    );
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { json?: boolean; watch?: boolean }) => {
    const depot = findDepot(options);
    for (;;) {
      const status = await askDaemon<Status>(depot, "status");
      const text = options.json ? JSON.stringify(status) + "\n" : statusText(status);
      terminal.out(options.watch && !options.json && terminal.isInteractive ? CLEAR + text : text);
      if (!options.watch) return;
      await delay(WATCH_MS);
    }
  });
}

/** The status for people, one fact a line. */
export function statusText(status: Status): string {
  const { files, cache, disk, storage, totals } = status;
  const share = cache.maxBytes === 0 ? 0 : Math.round(100 * cache.bytes / cache.maxBytes);
  const lines: [string, string][] = [
    ["Depot", `${status.depot} (${status.mode === "readonly" ? "replica" : "read-write"})`],
    [
      "Daemon",
      `p4-cache ${status.version}, pid ${status.pid}, up ${ageText(status.uptimeSeconds)}`,
    ],
    ["State", status.state],
    ["Watching", status.watching ?? "no (replica)"],
    ["Storage", storageText(storage.primary)],
  ];
  if (storage.secondary !== null) lines.push(["Secondary", storageText(storage.secondary)]);
  lines.push(
    [
      "Files",
      `${files.total}: ${files.clean} clean, ${files.dirty} dirty, ${files.uploading} uploading, ` +
      `${files.restoring} restoring`,
    ],
    [
      "Oldest dirty",
      status.oldestDirtySeconds === null ? "none" : ageText(status.oldestDirtySeconds),
    ],
    [
      "Cache",
      `${sizeText(cache.bytes)} of ${sizeText(cache.maxBytes)} (${share} %), evicts above ` +
      sizeText(cache.lowWatermarkBytes),
    ],
    ["Disk", `${sizeText(disk.freeBytes)} free of ${sizeText(disk.totalBytes)}`],
    [
      "Since start",
      `${totals.uploadsOk} uploads (${totals.uploadsFailed} failed), ${totals.restoresOk} restores ` +
      `(${totals.restoresFailed} failed), ${totals.evictions} evictions`,
    ],
  );
  for (const { condition, reason, seconds } of status.degraded) {
    lines.push(["Degraded", `${condition} for ${ageText(seconds)}: ${reason}`]);
  }
  if (status.drained !== null) lines.push(["Drained", `${status.drained}; 'undrain' ends it`]);
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  return lines.map(([name, value]) => `${(name + ":").padEnd(width)}${value}\n`).join("");
}

function storageText({ label, reachable }: Status["storage"]["primary"]): string {
  return reachable ? label : `${label} (unreachable, being probed)`;
}
