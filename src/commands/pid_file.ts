/**
 * The pid file: holds the number of the running daemon, from readiness to the end.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/**
 * Writes this process's number, in place of whatever a dead daemon left.
 * @throws EnvironmentError when the file cannot be written
 */
export function writePidFile(path: string): void {
  const text = `${Deno.pid}\n`;
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    try {
      Deno.writeTextFileSync(temporary, text, { mode: 0o644 });
    } catch (error) {
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
      // In a directory of root's (/var/run), an administrator can still give us the file itself.
      Deno.writeTextFileSync(path, text, { create: false });
      return;
    }
    try {
      Deno.renameSync(temporary, path);
    } catch (error) {
      Deno.removeSync(temporary);
      throw error;
    }
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound
      ? "no such directory, or no right to make a file in it"
      : reasonOf(error);
    throw new EnvironmentError(
      `Cannot write the pid file ${path}: ${why}; give a writable place with --pid-file`,
    );
  }
}

/** Removes the pid file if it is still ours; a successor's file stays. */
export function deletePidFile(path: string): void {
  try {
    if (Deno.readTextFileSync(path).trim() !== String(Deno.pid)) return;
    Deno.removeSync(path);
  } catch {
    // Gone already, or in a directory of root's: a stale file is replaced at the next start.
  }
}
