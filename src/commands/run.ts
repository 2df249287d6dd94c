/**
 * `p4-cache run`: the daemons of all depots of one host.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { bandwidthAt, parseBandwidth } from "../config/bandwidth.ts";
import { isLocal, parseListenAddress } from "../config/listen_address.ts";
import { allowedText } from "../config/kinds.ts";
import { ConfigError } from "../errors.ts";
import { sizeOf } from "../amounts.ts";
import { DEPOTS_DIR } from "./depot_files.ts";

interface Options {
  readonly configDir: string;
  readonly uploadBandwidth?: () => number;
  readonly downloadBandwidth?: () => number;
  readonly transferMemory?: number;
  readonly httpListen?: string;
  readonly httpAllowRemote?: boolean;
  readonly logFormat: "text" | "json";
}

/** Adds `run [--config-dir DIR] …`. */
export function addRunCommand(program: Command, setExitCode: (code: number) => void): void {
  program.command("run")
    .description("run one daemon for each configuration in a directory")
    .option("--config-dir <path>", "directory with a JSON file for each depot", DEPOTS_DIR)
    .option("--upload-bandwidth <rate>", "most bytes a second of all depots to storage", rate)
    .option("--download-bandwidth <rate>", "the same from storage", rate)
    .option(
      "--transfer-memory <size>",
      "most bytes of files on their way, of all depots",
      (text) => sizeOf(text, "--transfer-memory"),
    )
    .option("--http-listen <address>", "serve /health, /ready, /metrics and /status of all depots")
    .option("--http-allow-remote", "--http-listen may be reached by other machines")
    .addOption(
      new Option("--log-format <type>", "of this program's own lines").choices(["text", "json"])
        .default("text"),
    )
    .addHelpText(
      "before",
      "Examples:\n  p4-cache run\n" +
        "  p4-cache run --config-dir /etc/p4-cache/depots.d --upload-bandwidth 200MB " +
        "--transfer-memory 1GB\n",
    )
    .addHelpText(
      "after",
      "\nSIGHUP starts the depots of new files, stops those of removed ones, and reloads the others." +
        "\nA depot whose daemon ends is started again; the others go on.",
    )
    .action(async (options: Options) => {
      const { httpListen, uploadBandwidth, downloadBandwidth, transferMemory = null } = options;
      const http = httpListen === undefined ? null : parseListenAddress(httpListen);
      if (httpListen !== undefined && http === null) {
        const allowed = allowedText({ is: "listenAddress" });
        throw new ConfigError(`Cannot use --http-listen '${httpListen}'; allowed is ${allowed}`);
      }
      if (http !== null && !isLocal(http) && options.httpAllowRemote !== true) {
        throw new ConfigError(
          `Cannot use --http-listen '${httpListen}': other machines reach it; allowed is a ` +
            "loopback address or unix:/path, any other with --http-allow-remote",
        );
      }
      const { runSupervisor } = await import("./run_supervisor.ts");
      setExitCode(
        await runSupervisor({
          configDir: options.configDir,
          logFormat: options.logFormat,
          http,
          total: () => ({
            up: limit(uploadBandwidth),
            down: limit(downloadBandwidth),
            memory: transferMemory,
          }),
        }),
      );
    });
}

/** Bytes a second now; null: no limit. */
function limit(rate: (() => number) | undefined): number | null {
  const now = rate?.() ?? Infinity;
  return now === Infinity ? null : now;
}

function rate(text: string): () => number {
  const bandwidth = parseBandwidth(text);
  if (bandwidth === null) {
    throw new InvalidArgumentError(`allowed is ${allowedText({ is: "bandwidth" })}`);
  }
  return () => {
    const now = new Date();
    return bandwidthAt(bandwidth, now.getHours() * 60 + now.getMinutes());
  };
}
