/**
 * `p4-cache status`: what the daemon is doing.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import { counted } from "../counted.ts";
import { ageText, sizeText } from "../amounts.ts";
import {
  addDepotOptions,
  askDaemon,
  type DepotChoice,
  depotOfConfig,
  findDepot,
} from "./control_client.ts";
import { type DepotFile, depotFiles, DEPOTS_DIR } from "./depot_files.ts";
import type { Terminal } from "./terminal.ts";

/** Time between two looks of `--watch`, ms. */
const WATCH_MS = 1000;

/** Clears the screen and goes to its first cell (ECMA-48). */
const CLEAR = "\x1b[2J\x1b[H";

interface Options extends DepotChoice {
  readonly all?: boolean;
  readonly configDir: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** A depot of several, as `status --all --json` tells it. */
interface OneOfAll {
  readonly name: string;
  /** Null where the daemon does not answer; `why` says why not. */
  readonly status: Status | null;
  readonly why: string | null;
}

/** Adds `status [--all] [--watch] [--json]`. */
export function addStatusCommand(program: Command, terminal: Terminal): void {
  const command = program.command("status")
    .description("show what the daemon is doing")
    .option("--json", "as JSON; its names are a stable promise")
    .option("--all", "every depot of 'p4-cache run', one a line")
    .option("--config-dir <path>", "with --all: the directory of their configurations", DEPOTS_DIR)
    .option("--watch", "again every second, until interrupted")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache status\n  p4-cache status --json | jq .files.dirty\n" +
        "  p4-cache status --depot projects\n  p4-cache status --all\n",
    );
  addDepotOptions(command);
  command.action(async (options: Options) => {
    const read = options.all ? readAll(options) : readOne(options);
    for (;;) {
      const text = await read();
      terminal.out(options.watch && !options.json && terminal.isInteractive ? CLEAR + text : text);
      if (!options.watch) return;
      await delay(WATCH_MS);
    }
  });
}

function readOne(options: Options): () => Promise<string> {
  const depot = findDepot(options);
  return async () => {
    const status = await askDaemon<Status>(depot, "status");
    return options.json ? JSON.stringify(status) + "\n" : statusText(status);
  };
}

function readAll({ configDir, json }: Options): () => Promise<string> {
  const ask = async ({ name, path }: DepotFile): Promise<OneOfAll> => {
    try {
      return { name, status: await askDaemon<Status>(depotOfConfig(path), "status"), why: null };
    } catch (error) {
      return { name, status: null, why: error instanceof Error ? error.message : String(error) };
    }
  };
  return async () => {
    const all = await Promise.all(depotFiles(configDir).map(ask));
    return json ? JSON.stringify(all) + "\n" : allText(all);
  };
}

/** One depot a line. */
function allText(all: readonly OneOfAll[]): string {
  const width = Math.max(0, ...all.map(({ name }) => name.length)) + 2;
  return all.map(({ name, status, why }) => {
    if (status === null) return `${name.padEnd(width)}${why}\n`;
    const { files, cache, depot, state, totals } = status;
    const share = cache.maxBytes === 0 ? 0 : Math.round(100 * cache.bytes / cache.maxBytes);
    const failed = totals.uploadsFailed + totals.restoresFailed;
    return `${name.padEnd(width)}${state}, ${
      counted(files.total, "file")
    }, ${files.dirty} dirty, cache ` +
      `${sizeText(cache.bytes)} (${share} %), ${failed} failed, ${depot}\n`;
  }).join("");
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
  const feed = status.replica?.feed ?? null;
  if (feed !== null) lines.push(["Change feed", feed]);
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
      `${counted(totals.uploadsOk, "upload")} (${totals.uploadsFailed} failed), ${
        counted(totals.restoresOk, "restore")
      } ` +
      `(${totals.restoresFailed} failed), ${counted(totals.evictions, "eviction")}`,
    ],
  );
  if (status.renamesWaiting > 0) {
    const renames = counted(status.renamesWaiting, "rename");
    lines.push(["Directories", `${renames} to be carried out in storage`]);
  }
  for (const { condition, reason, seconds } of status.degraded) {
    lines.push(["Degraded", `${condition} for ${ageText(seconds)}: ${reason}`]);
  }
  const latest = status.recent.at(-1);
  if (latest !== undefined) {
    const ago = ageText(Math.max(0, (Date.now() - Date.parse(latest.time)) / 1000));
    lines.push([
      "Warnings",
      `${status.recent.length} lately in the log, the last ${ago} ago: ${latest.message}`,
    ]);
  }
  if (status.drained !== null) lines.push(["Drained", `${status.drained}; 'undrain' ends it`]);
  const width = Math.max(...lines.map(([name]) => name.length)) + 2;
  return lines.map(([name, value]) => `${(name + ":").padEnd(width)}${value}\n`).join("");
}

function storageText({ label, reachable }: Status["storage"]["primary"]): string {
  return reachable ? label : `${label} (unreachable, being probed)`;
}
