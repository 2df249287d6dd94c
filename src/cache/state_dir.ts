/**
 * The state directory `<depot>/.p4cache`: made at start, locked for one daemon, and cleared of what a dead
 * one left (P4).
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { pathFromText, STATE_DIR } from "../depot_path.ts";

/** Absolute paths inside the state directory, for Deno's own calls. */
export interface StateDir {
  readonly path: string;
  readonly manifest: string;
  readonly trash: string;
  readonly restoring: string;
  readonly shimSocket: string;
  readonly accessSocket: string;
  readonly controlSocket: string;
}

/**
 * Makes the state directory where it is missing and locks it.
 * @throws EnvironmentError when it cannot be written, or another daemon holds it (names its pid).
 */
export function prepareStateDir(files: DepotFiles, depotPath: string): StateDir {
  const path = `${depotPath}/${STATE_DIR}`;
  const dir: StateDir = {
    path,
    manifest: `${path}/manifest`,
    trash: `${path}/trash`,
    restoring: `${path}/restoring`,
    shimSocket: `${path}/shim.sock`,
    accessSocket: `${path}/access.sock`,
    controlSocket: `${path}/control.sock`,
  };
  try {
    for (const each of [path, dir.manifest]) Deno.mkdirSync(each, { recursive: true, mode: 0o755 });
    lock(files, `${path}/daemon.lock`);
    for (const name of ["trash", "conflicts", "restore", "restoring"]) {
      Deno.mkdirSync(`${path}/${name}`, { recursive: true, mode: 0o700 });
    }
  } catch (error) {
    if (error instanceof EnvironmentError) throw error;
    throw new EnvironmentError(
      `Cannot prepare the state directory ${path}: ${reasonOf(error)}; ` +
        `it must be writable for the daemon's user (uid ${Deno.uid()})`,
    );
  }
  return dir;
}

function lock(files: DepotFiles, path: string): void {
  try {
    if (files.lock(pathFromText(path))) {
      Deno.writeTextFileSync(path, `${Deno.pid}\n`);
      return;
    }
  } catch (error) {
    if (error instanceof FileError) throw new Error(error.message);
    throw error;
  }
  const pid = Deno.readTextFileSync(path).trim();
  throw new EnvironmentError(
    `Cannot start: another p4-cache daemon (pid ${pid}) serves this depot; stop it first`,
  );
}
