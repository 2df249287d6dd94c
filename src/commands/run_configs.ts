/**
 * The configurations of several depots, and what two of them may not have in common.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { CONFIG_FLAG } from "../config/setting.ts";
import { placeOf } from "../config/storage_place.ts";

/** Reads the configuration of a depot. @throws ConfigError */
export function loadDepot(path: string): Config {
  return loadConfig(new Map([[CONFIG_FLAG, path]]), (name) => Deno.env.get(name));
}

/**
 * What stands against two depots at once; null when nothing does.
 * @param others Those that run, by name.
 */
export function conflict(config: Config, others: ReadonlyMap<string, Config>): string | null {
  for (const [name, other] of others) {
    const [depot, its] = [config.depotPath, other.depotPath].map((path) => Deno.realPathSync(path));
    if (isWithin(depot!, its!) || isWithin(its!, depot!)) {
      return `depot_path ${config.depotPath} and that of '${name}' (${other.depotPath}) are the ` +
        "same, or one is inside the other; each depot needs a directory of its own";
    }
    for (const [key, value] of claims(config)) {
      if (claims(other).some(([its, taken]) => its === key && taken === value)) {
        return `${key} ${value} is that of '${name}', too; each depot needs its own`;
      }
    }
  }
  return null;
}

/** What belongs to one depot alone: setting and value. */
function claims(config: Config): [string, string][] {
  const all: [string, string | null][] = [
    ["access_db_path", config.accessLogEnabled ? config.accessDbPath : null],
    ["http_listen", /:0$/.test(config.httpListen ?? "") ? null : config.httpListen],
    ["metrics_file", config.metricsFile],
    ["pid_file", config.pidFile],
    ["log_file", config.logFile],
    // Replicas of one depot may read the same objects.
    ["primary", config.readOnly ? null : placeOf(config.primary, Deno.realPathSync)],
  ];
  return all.filter((claim): claim is [string, string] => claim[1] !== null);
}

function isWithin(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir.replace(/\/*$/, "/"));
}
