/**
 * `p4-cache lease`: who may write to the storage, and taking that right from a daemon that cannot be
 * stopped.
 *
 * @module
 */

import type { Command } from "commander";
import { Lease } from "../cluster/lease.ts";
import { machineClock } from "../cluster/lease_clock.ts";
import type { LeaseRecord } from "../cluster/lease_record.ts";
import { LeaseStore } from "../cluster/lease_store.ts";
import { leaseStore } from "../cluster/open_lease.ts";
import { describeHolder, WriteRight } from "../cluster/write_right.ts";
import type { Config } from "../config/config.ts";
import { EnvironmentError } from "../errors.ts";
import { Health } from "../observe/health.ts";
import { getLog } from "../observe/logging.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `lease [--take-away] [--json] [daemon flags]`. */
export function addLeaseCommand(program: Command, terminal: Terminal): void {
  const command = program.command("lease")
    .description("show which daemon may write to the storage")
    .option("--take-away", "take the lease from a daemon that cannot be stopped, and leave it free")
    .option("--json", "the lease as JSON; null where there is none")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache lease --config /etc/p4-cache/config.json\n" +
        "  p4-cache lease --config /etc/p4-cache/config.json --take-away\n",
    );
  addDaemonFlags(command);
  command.action(async (options: { takeAway?: boolean; json?: boolean }) => {
    const { loadServiceConfig } = await import("./service_environment.ts");
    const { openBackend } = await import("../storage/open_backend.ts");
    const flags = flagsOf(program, command);
    const config = await loadServiceConfig(flags);
    const backend = await openBackend(config.primary);
    const store = leaseStore(config, backend);
    const signal = new AbortController().signal;
    try {
      const before = (await store.read(signal))?.record ?? null;
      const isHeld = before !== null && !before.released;
      if (options.takeAway && isHeld) await takeAway(config, store, before, terminal);
      const record = (await store.read(signal))?.record ?? null;
      terminal.out(options.json ? JSON.stringify(record) + "\n" : describe(store.label, record));
    } finally {
      await backend.close();
    }
  });
}

/** The lease in a line for people. */
function describe(label: string, record: LeaseRecord | null): string {
  if (record === null) return `${label}: no daemon has ever held a lease\n`;
  if (record.released) return `${label}: free; ${describeHolder(record)} gave it back\n`;
  return `${label}: held by ${describeHolder(record)}; free after ${record.ttl} s without a ` +
    `renewal\n`;
}

async function takeAway(
  config: Config,
  store: LeaseStore,
  from: LeaseRecord,
  terminal: Terminal,
): Promise<void> {
  const log = getLog("lease");
  const right = new WriteRight({ clock: machineClock(), health: new Health(log), log });
  right.require(store.label);
  const isOver = Promise.race([
    right.whenHeld(),
    new Promise<void>((resolve) => right.onLost(resolve)),
  ]);
  const lease = new Lease({
    store,
    right,
    holder: crypto.randomUUID(),
    session: crypto.randomUUID(),
    host: Deno.hostname(),
    pid: Deno.pid,
    ttlSeconds: config.leaseTtlSeconds,
    isRequired: true,
    log,
  });
  terminal.err(
    `Takes the lease from ${describeHolder(from)}, and waits ${from.ttl} s, until that one ` +
      `certainly writes no more\n`,
  );
  await lease.start(true);
  await isOver;
  const { isHeld, why } = right;
  await lease.release();
  if (!isHeld) throw new EnvironmentError(`Cannot take the lease of ${store.label}: ${why}`);
}
