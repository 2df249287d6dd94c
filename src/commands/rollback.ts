/**
 * `p4-cache rollback`: back to the program that was installed before the last upgrade.
 *
 * `install.sh` keeps that one beside the present one. The two change places, so that a second rollback
 * undoes the first.
 *
 * @module
 */

import type { Command } from "commander";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { exists } from "../exists.ts";
import { DEFAULT_TARGET } from "./shim_install.ts";
import type { Terminal } from "./terminal.ts";

/** A running systemd has made this directory (sd_booted(3)). */
const SYSTEMD_RUNS = "/run/systemd/system";

/** Services that run our program; those that do not run are left alone. */
const SERVICES = ["p4-cache.service", "p4-cache-depots.service", "p4-cache@*.service"];

/** Adds `rollback [--shim PATH] [--no-restart]`. */
export function addRollbackCommand(program: Command, terminal: Terminal): void {
  program.command("rollback")
    .description("return to the program that the last upgrade replaced")
    .option("--shim <path>", "the installed library, put back too", DEFAULT_TARGET)
    .option("--no-restart", "leave running services alone")
    .option("--json", 'as JSON: {"program": …, "version": …, "shim": …, "restarted": …}')
    .addHelpText(
      "before",
      "Examples:\n  sudo p4-cache rollback\n  sudo p4-cache rollback --no-restart\n",
    )
    .action(async (options: { shim: string; restart: boolean; json?: boolean }) => {
      const tell = (text: string) => options.json ? undefined : terminal.out(text);
      if (!Deno.build.standalone) {
        throw new EnvironmentError("Cannot roll back: this is not an installed program");
      }
      const current = Deno.execPath();
      exchange(current);
      const version = (await output(current, ["--version"])).trim();
      tell(`${current} is ${version} again\n`);
      const shim = exists(options.shim) ? options.shim : null;
      if (shim !== null) {
        await output(current, ["shim", "install", "--to", shim]);
        tell(`${shim} is that of this version\n`);
      }
      const restarted = options.restart && exists(SYSTEMD_RUNS);
      if (restarted) {
        await output("systemctl", ["try-restart", ...SERVICES]);
        tell("Running services were restarted\n");
      }
      if (options.json) {
        terminal.out(JSON.stringify({ program: current, version, shim, restarted }) + "\n");
      }
    });
}

/**
 * Lets the program and the previous one change places. There is always a program under its name, and
 * both keep their capabilities: only names change.
 * @throws EnvironmentError when there is no previous program, or its directory cannot be written.
 */
export function exchange(current: string): void {
  const previous = `${current}.previous`;
  if (!exists(previous)) {
    throw new EnvironmentError(
      `Cannot roll back ${current}: there is no ${previous}; an upgrade by install.sh makes it`,
    );
  }
  const temporary = `${current}.rollback`;
  try {
    if (exists(temporary)) Deno.removeSync(temporary); // left by an interrupted one
    Deno.linkSync(current, temporary);
    Deno.renameSync(previous, current);
    Deno.renameSync(temporary, previous);
  } catch (error) {
    const why = error instanceof Deno.errors.PermissionDenied
      ? "permission denied; run it as root"
      : reasonOf(error);
    throw new EnvironmentError(`Cannot roll back ${current}: ${why}`);
  }
}

async function output(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, stdin: "null" })
    .output();
  if (success) return new TextDecoder().decode(stdout);
  const why = new TextDecoder().decode(stderr).trim();
  throw new EnvironmentError(`Cannot run '${command} ${args.join(" ")}': ${why}`);
}
