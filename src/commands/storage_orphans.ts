/**
 * `p4-cache storage orphans`: finds what crashed uploads left in the bucket, and removes it.
 *
 * @module
 */

import type { Command } from "commander";
import { displayPath } from "../depot_path.ts";
import { ageText } from "../amounts.ts";
import { wholeNumber } from "./arguments.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import type { Terminal } from "./terminal.ts";

/** Uploads that may still be under way are younger than this, hours. */
const OLDER_THAN_HOURS = 24;

interface Options {
  readonly abort?: boolean;
  readonly olderThan?: number;
  readonly json?: boolean;
}

/** Adds `storage orphans [--abort] [--older-than hours] [daemon flags]`. */
export function addStorageCommand(program: Command, terminal: Terminal): void {
  const storage = program.command("storage").description("look after the bucket itself")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache storage orphans --config /etc/p4-cache/config.json\n",
    );
  const orphans = storage.command("orphans")
    .description("list uploads in parts that were begun and never ended")
    .option("--abort", "remove them and their parts")
    .option("--older-than <hours>", `begun before this (default: ${OLDER_THAN_HOURS})`, wholeNumber)
    .option("--json", "as JSON: one upload a line")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache storage orphans --config /etc/p4-cache/config.json\n" +
        "  p4-cache storage orphans --config /etc/p4-cache/config.json --abort\n",
    );
  addDaemonFlags(orphans);
  orphans.action(async (options: Options) => {
    const { loadServiceConfig } = await import("./service_environment.ts");
    const flags = flagsOf(program, orphans);
    const { primary } = await loadServiceConfig(flags);
    const abort = options.abort ?? false;
    const tell = (text: string) => options.json ? undefined : terminal.out(text);
    if (primary.type !== "s3") {
      tell(`Storage of type ${primary.type} keeps no unfinished uploads\n`);
      return;
    }
    const { openS3 } = await import("../storage/s3/s3_open.ts");
    const backend = await openS3(primary);
    const signal = new AbortController().signal;
    const latestMs = Date.now() - (options.olderThan ?? OLDER_THAN_HOURS) * 3_600_000;
    let count = 0;
    try {
      for await (const upload of backend.unfinishedUploads(signal)) {
        if (upload.begunMs > latestMs) continue;
        count++;
        if (abort) await backend.abortUpload(upload, signal);
        const age = ageText(Math.max(0, (Date.now() - upload.begunMs) / 1000));
        tell(`${displayPath(upload.key)}  begun ${age} ago  ${upload.uploadId}\n`);
        if (!options.json) continue;
        const { key, uploadId, begunMs } = upload;
        const begun = new Date(begunMs).toISOString();
        terminal.out(
          JSON.stringify({ key: displayPath(key), uploadId, begun, removed: abort }) + "\n",
        );
      }
    } finally {
      await backend.close();
    }
    const what = `${count} unfinished upload${count === 1 ? "" : "s"}`;
    if (abort) tell(`${what} removed\n`);
    else tell(count === 0 ? `${what}\n` : `${what}; --abort removes them\n`);
  });
}
