/**
 * `p4-cache exec -- CMD…`: runs a command under the preload library. The command takes this process's
 * place, so its exit code, signals and terminal are its own.
 *
 * @module
 */

import type { Command } from "commander";
import { ENOENT, errnoName } from "../../ffi/errno.ts";
import { readAsset } from "../assets.ts";
import { pathFromBytes } from "../depot_path.ts";
import { addDepotOptions, type DepotChoice, findDepot } from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** As shells have it: found but cannot be run, not found. */
const CANNOT_RUN = 126, NOT_FOUND = 127;

/** Adds `exec [--depot-path P] -- CMD…`. */
export function addExecCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("exec")
    .description("run a command that sees evicted files: under the shim, with its variables set")
    .argument("<command...>", "the command and its arguments, after --")
    .passThroughOptions()
    .addHelpText(
      "before",
      "Examples:\n  p4-cache exec -- md5sum main/src/a.c,v\n" +
        "  p4-cache exec --depot-path /mnt/nvme/depot -- rsync -a /mnt/nvme/depot/ backup:/depot/\n",
    );
  addDepotOptions(command);
  command.action(async (args: string[], options: DepotChoice) => {
    const { placeShim, shimPlaces } = await import("./shim_place.ts");
    const { execute } = await import("../../ffi/exec.ts");
    const library = placeShim(readAsset("libp4shim.so"), shimPlaces((name) => Deno.env.get(name)));
    const bytes = (text: string) => pathFromBytes(new TextEncoder().encode(text));
    const errno = execute(
      args.map(bytes),
      shimEnvironment(ownEnvironment(), bytes(library), bytes(findDepot(options))),
      callersLimit(),
    );
    const why = errno === ENOENT
      ? "no such command"
      : `${errnoName(errno)}; allowed is an executable`;
    terminal.err(`p4-cache: Cannot run '${args[0]}': ${why}\n`);
    setExitCode(errno === ENOENT ? NOT_FOUND : CANNOT_RUN);
  });
}

/**
 * The variables for a program under the library; others stay as they are, byte for byte.
 * @param own `NAME=value` of each variable, one character per byte, as all texts here.
 */
export function shimEnvironment(own: readonly string[], library: string, depot: string): string[] {
  const preload = own.find((text) => text.startsWith("LD_PRELOAD="))?.slice("LD_PRELOAD=".length);
  const others = (preload ?? "").split(/[ :]/).filter((name) => name !== "" && name !== library);
  const set = [`LD_PRELOAD=${[library, ...others].join(":")}`, `P4CACHE_DEPOT=${depot}`];
  const names = set.map((text) => text.slice(0, text.indexOf("=") + 1));
  return [...own.filter((text) => !names.some((name) => text.startsWith(name))), ...set];
}

/**
 * The variables this process was started with, as the kernel keeps them. It hides them from a program
 * with file capabilities; then as the runtime has them.
 */
function ownEnvironment(): string[] {
  try {
    const text = pathFromBytes(Deno.readFileSync("/proc/self/environ"));
    return text.split("\0").filter((variable) => variable !== "");
  } catch {
    const encode = (text: string) => pathFromBytes(new TextEncoder().encode(text));
    return Object.entries(Deno.env.toObject()).map(([name, value]) => encode(`${name}=${value}`));
  }
}

/**
 * The limit of descriptors that our caller has, as we had until the runtime raised it. A manager of
 * services sets limits for us alone, so its own say nothing: 0.
 */
function callersLimit(): bigint {
  if (Deno.ppid === 1) return 0n;
  try {
    const limits = Deno.readTextFileSync(`/proc/${Deno.ppid}/limits`);
    return BigInt(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0);
  } catch {
    return 0n; // another user's process
  }
}
