/**
 * `p4-cache shim install`: writes the preload library out of the binary.
 *
 * @module
 */

import { dirname, resolve } from "node:path/posix";
import type { Command } from "commander";
import { readAsset } from "../assets.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { addShimCheck } from "./shim_check.ts";
import type { Terminal } from "./terminal.ts";

/** Where the library is installed unless another place is given. */
export const DEFAULT_TARGET = "/usr/local/lib/libp4shim.so";

/** Adds `shim install [--to PATH]` and `shim check`. */
export function addShimCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const shim = program.command("shim").description("the library that p4d is started with")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache shim install\n  p4-cache shim check $(pidof p4d)\n",
    );
  addShimCheck(shim, terminal, setExitCode);
  shim.command("install")
    .description("write libp4shim.so")
    .option("--to <path>", `where to write it (default: ${DEFAULT_TARGET})`)
    .addHelpText(
      "before",
      "Examples:\n  p4-cache shim install --to /usr/local/lib/libp4shim.so\n",
    )
    .action((options: { to?: string }) => {
      const target = resolve(options.to ?? DEFAULT_TARGET);
      installShim(target, readAsset("libp4shim.so"));
      terminal.out(
        `Installed ${target}\nStart p4d with LD_PRELOAD=${target} P4CACHE_DEPOT=<depot path>\n`,
      );
    });
}

/**
 * Writes the library with mode 0755 and puts it in place by one rename: a p4d that has the old one
 * loaded keeps it, and nobody ever loads half a file.
 * @throws EnvironmentError when the target cannot be written
 */
export function installShim(target: string, library: Uint8Array): void {
  const temporary = resolve(dirname(target), `.libp4shim.${crypto.randomUUID()}.tmp`);
  try {
    const file = Deno.openSync(temporary, { write: true, createNew: true, mode: 0o755 });
    try {
      let rest = library;
      while (rest.length > 0) rest = rest.subarray(file.writeSync(rest));
      // The umask may have narrowed the mode.
      Deno.chmodSync(temporary, 0o755);
      file.syncSync();
    } finally {
      file.close();
    }
    Deno.renameSync(temporary, target);
  } catch (error) {
    removeIfThere(temporary);
    throw new EnvironmentError(`Cannot install the shim at ${target}: ${installProblem(error)}`);
  }
}

function installProblem(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "its directory does not exist; create it first";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "permission denied; run it as root or give another place with --to";
  }
  if (error instanceof Deno.errors.IsADirectory) {
    return "it is a directory; give the file's path with --to";
  }
  return reasonOf(error);
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
}
