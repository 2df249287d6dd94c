/**
 * `p4-cache doctor`: what is wrong around a depot's daemon, and what to do about it.
 *
 * @module
 */

import type { Command } from "commander";
import type { Status } from "../admin/status.ts";
import type { Finding } from "../doctor/finding.ts";
import type { Patient } from "../doctor/examine.ts";
import {
  addDepotOptions,
  askDaemon,
  chosenConfig,
  configOfDepot,
  type DepotChoice,
  findDepot,
} from "./control_client.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `doctor [--json]`; exit code 1 when something does not work. */
export function addDoctorCommand(
  program: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  const command = program.command("doctor")
    .description("check configuration, machine, storage, databases and p4d; exit 1 on a FAIL")
    .option("--json", "as JSON: one finding a line")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache doctor --config /etc/p4-cache/config.json\n" +
        "  p4-cache doctor --json | jq 'select(.level == \"FAIL\")'\n",
    );
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { json?: boolean }) => {
    const { examine } = await import("../doctor/examine.ts");
    const counts = { OK: 0, WARN: 0, FAIL: 0, SKIP: 0 };
    for await (const finding of examine(await patientOf(options))) {
      counts[finding.level]++;
      terminal.out(options.json ? JSON.stringify(finding) + "\n" : line(finding));
    }
    if (!options.json) {
      terminal.out(`${counts.FAIL} FAIL, ${counts.WARN} WARN, ${counts.OK} OK\n`);
    }
    setExitCode(counts.FAIL === 0 ? 0 : 1);
  });
}

/** What is known of the depot that is meant. */
export async function patientOf(options: DepotChoice): Promise<Patient> {
  const depot = findDepot(options);
  const configFile = chosenConfig(options) ?? configOfDepot(depot);
  let daemon: Status | null = null, why = "";
  try {
    daemon = await askDaemon<Status>(depot, "status");
  } catch (error) {
    why = (error as Error).message;
  }
  return { depot, configFile, config: await load(configFile), daemon, why };
}

async function load(file: string | null): Promise<Patient["config"]> {
  if (file === null) return null;
  const { loadServiceConfig } = await import("./service_environment.ts");
  try {
    return await loadServiceConfig(new Map([["--config", file]]));
  } catch (error) {
    return (error as Error).message;
  }
}

function line({ check, level, what, fix }: Finding): string {
  const text = `${level.padEnd(4)}  ${check}: ${what}\n`;
  return fix === null ? text : `${text}      → ${fix}\n`;
}
