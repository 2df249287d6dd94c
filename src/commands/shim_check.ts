/**
 * `p4-cache shim check PID`: whether a running process has the preload library, which one, and for
 * which depot.
 *
 * @module
 */

import type { Command } from "commander";
import { type ShimState, shimState } from "../doctor/shim_state.ts";
import { ConfigError } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `shim check <pid> [--json]`; exit code 0 only with a shim and a depot. */
export function addShimCheck(
  shim: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  shim.command("check")
    .argument("<pid>", "process id")
    .description("tell whether a process runs under the shim; exit 1 if it does not")
    .option("--json", "as JSON")
    .addHelpText("before", "Examples:\n  p4-cache shim check $(pidof p4d)\n")
    .action((pid: string, options: { json?: boolean }) => {
      if (!/^[1-9]\d{0,9}$/.test(pid)) {
        throw new ConfigError(`Cannot check '${pid}': allowed is a process id`);
      }
      const state = shimState(Number(pid));
      terminal.out(options.json ? JSON.stringify(state) + "\n" : describe(state));
      setExitCode(state.library !== null && state.depot !== null ? 0 : 1);
    });
}

function describe({ library, version, replaced, depot, variables }: ShimState): string {
  const lines = [`shim: ${library ?? "none"}${replaced ? " (replaced since)" : ""}`];
  if (library !== null) lines.push(`version: ${version ?? "unknown"}`);
  lines.push(`depot: ${depot ?? "none: P4CACHE_DEPOT is not set"}`);
  for (const [name, value] of Object.entries(variables)) {
    if (name !== "P4CACHE_DEPOT") lines.push(`${name}: ${value}`);
  }
  return lines.join("\n") + "\n";
}
