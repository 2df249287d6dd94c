/**
 * The command line: `p4-cache [daemon flags]` runs the daemon, sub-commands are for people.
 * What a command needs is imported when it runs, so that `--help` and `--version` stay quick.
 *
 * @module
 */

import { Command, CommanderError } from "commander";
import { ConfigError } from "../errors.ts";
import { PROGRAM_NAME, VERSION } from "../version.ts";
import { addAccessCommand } from "./access.ts";
import { addBackupCommand } from "./backup.ts";
import { addBenchCommand } from "./bench.ts";
import { addCompletionCommand } from "./completion.ts";
import { addConfigCommand } from "./config.ts";
import { addDaemonFlags, typedFlags } from "./daemon_flags.ts";
import { addDoctorCommand } from "./doctor.ts";
import { addDrainCommands } from "./drain.ts";
import { addEventsCommand } from "./events.ts";
import { addEvictCommand } from "./evict.ts";
import { addInvalidateCommand } from "./invalidate.ts";
import { addExecCommand } from "./exec.ts";
import { addFlushCommand } from "./flush.ts";
import { addGcCommand } from "./gc.ts";
import { addLeaseCommand } from "./lease.ts";
import { addLsCommand, addQueueCommand } from "./ls.ts";
import { addMigrateCommand } from "./migrate.ts";
import { addPinCommands } from "./pin.ts";
import { addManCommand } from "./man.ts";
import { addPrefetchCommands } from "./prefetch.ts";
import { addRestoreManifestCommand } from "./restore_manifest.ts";
import { addReuploadCommand } from "./reupload.ts";
import { addRollbackCommand } from "./rollback.ts";
import { addRunCommand } from "./run.ts";
import { addShimCommand } from "./shim_install.ts";
import { addStatusCommand } from "./status.ts";
import type { Terminal } from "./terminal.ts";
import { addStorageCommand } from "./storage_orphans.ts";
import { addSupportBundleCommand } from "./support_bundle.ts";
import { addTopCommand } from "./top.ts";
import { unknownCommand, usageProblem } from "./usage_errors.ts";
import { addVerifyCommand } from "./verify.ts";
import { addVersionCommand } from "./version.ts";
import { addWarmCommand } from "./warm.ts";

const EXAMPLES = `Write-back NVMe cache for Perforce depots.

Examples:
  p4-cache --depot-path /mnt/nvme/depot --primary-type s3 --primary-bucket my-p4-depot
  p4-cache --config /etc/p4-cache/config.json --daemon --pid-file /run/p4-cache.pid
  p4-cache config check --config /etc/p4-cache/config.json
  p4-cache shim install --to /usr/local/lib/libp4shim.so
`;

/** Runs what the arguments ask for; returns the exit code. */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode = 0;
  const program = buildProgram(args, terminal, (code) => exitCode = code);
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return reportUsage(error, program, args, terminal);
    return reportFailure(error, terminal);
  }
}

/** The command line, not yet run. */
export function buildProgram(
  args: readonly string[],
  terminal: Terminal,
  setExitCode: (code: number) => void,
): Command {
  const program = new Command(PROGRAM_NAME);
  // Set before the sub-commands are made: they inherit both.
  program.exitOverride();
  program.configureOutput({ writeOut: terminal.out, writeErr: () => {} });
  program
    .usage("[daemon flags] | <command>")
    .version(`${PROGRAM_NAME} ${VERSION}`, "--version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .addHelpText("before", EXAMPLES)
    .enablePositionalOptions();
  addDaemonFlags(program);
  program.option("--check-config", "check the configuration, and end; exit 2 if it is wrong");
  program.option(
    "--take-over",
    "fence another daemon that writes to the same storage; this one writes once that one cannot",
  );
  program.action(async (options: { checkConfig?: boolean; takeOver?: boolean }) => {
    refuseUnknownCommand(program);
    if (options.checkConfig === true) {
      const { loadServiceConfig } = await import("./service_environment.ts");
      const { warnings } = await loadServiceConfig(typedFlags(program));
      for (const warning of warnings) terminal.err(`p4-cache: warning: ${warning}\n`);
      return terminal.out("Configuration is valid\n");
    }
    setExitCode(await runFlags(args, program, options.takeOver === true));
  });
  addConfigCommand(program, terminal);
  addShimCommand(program, terminal, setExitCode);
  addStatusCommand(program, terminal);
  addDoctorCommand(program, terminal, setExitCode);
  addEventsCommand(program, terminal);
  addEvictCommand(program, terminal, setExitCode);
  addInvalidateCommand(program, terminal);
  addTopCommand(program, terminal);
  addWarmCommand(program, terminal, setExitCode);
  addVerifyCommand(program, terminal, setExitCode);
  addSupportBundleCommand(program, terminal);
  addFlushCommand(program, terminal, setExitCode);
  addDrainCommands(program, terminal);
  addGcCommand(program, terminal, setExitCode);
  addReuploadCommand(program, terminal);
  addMigrateCommand(program, terminal, setExitCode);
  addBackupCommand(program, terminal, setExitCode);
  addRestoreManifestCommand(program, terminal);
  addPinCommands(program, terminal, setExitCode);
  addLsCommand(program, terminal);
  addQueueCommand(program, terminal);
  addPrefetchCommands(program, terminal, setExitCode);
  addAccessCommand(program, setExitCode);
  addExecCommand(program, terminal, setExitCode);
  addBenchCommand(program, terminal);
  addStorageCommand(program, terminal);
  addLeaseCommand(program, terminal);
  addRollbackCommand(program, terminal);
  addRunCommand(program, setExitCode);
  addCompletionCommand(program, terminal);
  addManCommand(program, terminal);
  addVersionCommand(program, terminal);
  // Only now, since sub-commands inherit it: a word that is no command gets an answer of our own.
  program.allowExcessArguments();
  return program;
}

async function runFlags(
  args: readonly string[],
  program: Command,
  takeOver: boolean,
): Promise<number> {
  const { loadConfig } = await import("../config/load.ts");
  const load = () => loadConfig(typedFlags(program), (name) => Deno.env.get(name));
  const config = load();
  const { detach, isDetached, leaveTerminal } = await import("./detach.ts");
  const { isSupervised } = await import("./supervised.ts");
  if (config.daemon && !isDetached() && !isSupervised()) return await detach(args, config);
  if (isDetached()) leaveTerminal();
  const { runDaemon } = await import("./daemon.ts");
  try {
    return await runDaemon(config, load, takeOver);
  } catch (error) {
    // Who looks for the reason in the log finds it there, too.
    const { describeError, getLog } = await import("../observe/logging.ts");
    if (config.logFile !== null) getLog("daemon").error(describeError(error));
    throw error;
  }
}

function refuseUnknownCommand(program: Command): void {
  const [given] = program.args;
  if (given !== undefined) throw new ConfigError(unknownCommand(given, program));
}

/** Help and version are no errors; the rest becomes one line. */
function reportUsage(
  error: CommanderError,
  program: Command,
  args: readonly string[],
  terminal: Terminal,
): number {
  if (error.exitCode === 0) return 0;
  terminal.err(`p4-cache: ${usageProblem(error, program, args)}\n`);
  return 2;
}

/** One line for what went wrong outside; the stack only for what can only be our own mistake. */
function reportFailure(error: unknown, terminal: Terminal): number {
  const isBug = error instanceof TypeError || error instanceof RangeError ||
    error instanceof ReferenceError;
  if (isBug) {
    terminal.err(`p4-cache: internal error, please report it: ${error.stack ?? error.message}\n`);
    return 1;
  }
  const message = error instanceof Error ? error.message : String(error);
  terminal.err(`p4-cache: ${message.replaceAll("\n", " ")}\n`);
  return exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  const isCoded = error instanceof Error && "exitCode" in error;
  return isCoded && typeof error.exitCode === "number" ? error.exitCode : 1;
}
