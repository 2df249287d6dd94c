/**
 * `p4-cache config init`: a configuration file to begin with.
 *
 * @module
 */

import { type Command, Option } from "commander";
import type { BackendType } from "../config/config.ts";
import { ConfigError, EnvironmentError, reasonOf } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** What a primary can have. */
type StorageType = Exclude<BackendType, "peer">;

/** What has to be known of each storage, with something to replace. */
const PLACES: Readonly<Record<StorageType, Readonly<Record<string, string>>>> = {
  s3: { bucket: "my-p4-depot", region: "us-east-1" },
  azure: { container: "my-p4-depot", account_name: "myaccount" },
  gcs: { bucket: "my-p4-depot" },
  nfs: { path: "/mnt/archive/depot" },
};

const GIB = 1024 ** 3;

/** Shares of the depot's filesystem that a new cache may fill, and keeps free. */
const MAX_SHARE = 0.8, LOW_SHARE = 0.7, FREE_SHARE = 0.05;

/** Mode of the file: it may come to hold secrets. */
const MODE = 0o640;

/** Adds `config init`. */
export function addConfigInit(config: Command, terminal: Terminal): void {
  config.command("init")
    .argument("[file]", "where to write it; without it, to standard output")
    .description("write a configuration to begin with; sizes fit the depot's filesystem")
    .option("--depot <path>", "the depot directory", "/mnt/nvme/depot")
    .addOption(
      new Option("--type <type>", "the storage").choices(Object.keys(PLACES)).default("s3"),
    )
    .addHelpText(
      "before",
      "Examples:\n  p4-cache config init --depot /mnt/nvme/depot --type s3 /etc/p4-cache/config.json\n",
    )
    .action((file: string | undefined, options: { depot: string; type: StorageType }) => {
      const text = JSON.stringify(document(options.depot, options.type), null, 2) + "\n";
      if (file === undefined) return terminal.out(text);
      write(file, text);
      terminal.out(
        `Wrote ${file}; change what is yours, then: p4-cache config check --config ${file}\n`,
      );
    });
}

function document(depot: string, type: StorageType): Record<string, unknown> {
  return {
    depot_path: depot,
    primary: { type, ...PLACES[type] },
    ...sizes(depot),
    metrics_file: "/var/lib/node_exporter/textfile/p4cache.prom",
  };
}

function sizes(depot: string): Record<string, number> {
  let totalGib: number;
  try {
    totalGib = filesystemBytes(depot) / GIB;
  } catch {
    return { max_cache_gb: 100, low_watermark_gb: 80 };
  }
  const share = (part: number) => Math.max(1, Math.floor(totalGib * part));
  return {
    max_cache_gb: share(MAX_SHARE),
    low_watermark_gb: share(LOW_SHARE),
    min_free_gb: share(FREE_SHARE),
  };
}

function filesystemBytes(path: string): number {
  const { success, stdout } = new Deno.Command("df", {
    args: ["--block-size=1", "--output=size", path],
    stdout: "piped",
    stderr: "null",
  }).outputSync();
  const bytes = Number(new TextDecoder().decode(stdout).split("\n")[1]);
  if (success && bytes > 0) return bytes;
  throw new Error(`df knows nothing of ${path}`);
}

/** @throws ConfigError when there is something already. */
function write(file: string, text: string): void {
  try {
    Deno.writeTextFileSync(file, text, { createNew: true, mode: MODE });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new ConfigError(
        `Cannot write ${file}: it exists; give another name, or remove it first`,
      );
    }
    throw new EnvironmentError(`Cannot write ${file}: ${reasonOf(error)}`);
  }
}
