/**
 * Checks of configuration and state: the file, the depot directory, the databases.
 *
 * @module
 */

import { Kv } from "../../ffi/kv.ts";
import type { Status } from "../admin/status.ts";
import { pathFromText, STATE_DIR } from "../depot_path.ts";
import { CONFLICTS_DIR } from "../cache/trash.ts";
import type { Config } from "../config/config.ts";
import { BACKEND_SETTINGS } from "../config/backend_settings.ts";
import { counted } from "../counted.ts";
import { describeError } from "../observe/logging.ts";
import { fail, type Finding, ok, skip, warn } from "./finding.ts";

/** Read bits of group and world. */
const WORLD_READABLE = 0o004;

/** A database this full has to be looked after. */
const FULL_SHARE = 0.8;

/** @param loaded The configuration, or why it cannot be used; null: there is no file. */
export function checkConfig(file: string | null, loaded: Config | string | null): Finding[] {
  const name = "configuration";
  if (file === null || loaded === null) {
    return [
      skip(name, "no file is known; give --config to have it checked, and the storage with it"),
    ];
  }
  if (typeof loaded === "string") {
    return [fail(name, loaded, `correct ${file}; p4-cache config schema lists all keys`)];
  }
  const findings = [ok(name, `${file} is valid`)];
  findings.push(...loaded.warnings.map((warning) => warn(name, warning, `correct ${file}`)));
  const mode = Deno.statSync(file).mode ?? 0;
  if ((mode & WORLD_READABLE) !== 0 && hasSecret(file)) {
    findings.push(warn(
      name,
      `${file} has secrets, and everybody may read it`,
      `chmod o= ${file}, or move them to files of their own (secret_key_file)`,
    ));
  }
  return findings;
}

/** Whether the depot is there, and was served before. */
export function checkDepot(depot: string): Finding {
  const name = "depot";
  try {
    if (!Deno.statSync(depot).isDirectory) {
      return fail(name, `${depot} is no directory`, "correct depot_path");
    }
    Deno.statSync(`${depot}/${STATE_DIR}`);
    return ok(name, `${depot} has a state directory`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      return fail(name, describeError(error), "run as root or as the daemon's user");
    }
    try {
      Deno.statSync(depot);
      return ok(name, `${depot} was never served: it has no ${STATE_DIR}`);
    } catch {
      return fail(name, `${depot} does not exist`, "mount it, or correct depot_path");
    }
  }
}

/** What evictions and power cuts put aside: only people can tell whether it is still wanted. */
export function checkPutAside(depot: string): Finding {
  const name = "put aside", dir = `${depot}/${CONFLICTS_DIR}`;
  let files = 0, bytes = 0;
  try {
    for (const entry of Deno.readDirSync(dir)) {
      files++;
      bytes += Deno.lstatSync(`${dir}/${entry.name}`).size;
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return skip(name, "there is no state directory");
    return skip(name, `cannot look into ${dir}: ${describeError(error)}`);
  }
  if (files === 0) return ok(name, "nothing");
  return warn(
    name,
    `${counted(files, "file")}, ${
      Math.ceil(bytes / 1024 / 1024)
    } MiB, in ${dir}: earlier contents of files that ` +
      `were replaced in the moment of their eviction, or torn by a power cut`,
    "compare them with the files they are named after (the log says which), and remove them; the " +
      "daemon never does",
  );
}

/** Looks into the databases, beside a daemon or without one. */
export function checkDatabases(depot: string, accessDir: string, daemon: Status | null): Finding[] {
  const dirs = { manifest: `${depot}/${STATE_DIR}/manifest`, "access log": accessDir };
  return Object.entries(dirs).map(([name, dir]) => {
    try {
      Deno.statSync(`${dir}/data.mdb`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return skip(name, `there is none in ${dir}`);
      return skip(name, `cannot look into ${dir}: ${describeError(error)}`);
    }
    try {
      const kv = new Kv(pathFromText(dir), 0, { readOnly: true });
      const info = kv.info(kv.database(name === "manifest" ? "files" : ""));
      kv.close();
      // Only the daemon knows how far it lets the manifest grow.
      const mapBytes = name === "manifest" && daemon !== null
        ? daemon.manifest.mapBytes
        : info.mapBytes;
      const what = `${counted(info.entries, "entry", "entries")}, ${
        Math.ceil(info.usedBytes / 1024 / 1024)
      } MiB in use`;
      if (info.usedBytes < mapBytes * FULL_SHARE) return ok(name, what);
      return warn(
        name,
        `${what}, of ${mapBytes / 1024 / 1024} MiB it may grow to`,
        "raise its size",
      );
    } catch (error) {
      return fail(
        name,
        describeError(error),
        "stop the daemon, keep a copy, and see docs/explanation/semantics.md",
      );
    }
  });
}

function hasSecret(file: string): boolean {
  const secrets = BACKEND_SETTINGS.filter((setting) => setting.secret).map(({ key }) => key);
  try {
    const text = Deno.readTextFileSync(file);
    return secrets.some((key) => text.includes(`"${key}"`));
  } catch {
    return false;
  }
}
