/**
 * The pid file: holds the number of the running daemon, from readiness to the end.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";
import { expectReplaceable } from "../replaced_file.ts";

/**
 * Sees that the file could be written: a daemon that is about to serve must not fail for its pid file.
 * What is in it stays.
 * @throws EnvironmentError as `writePidFile` does
 */
export function checkPidFile(path: string): void {
  try {
    expectReplaceable(path);
    const temporary = temporaryOf(path);
    if (madeFile(temporary, "")) Deno.removeSync(temporary);
    else Deno.openSync(path, { write: true }).close();
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/**
 * Writes this process's number, in place of whatever a dead daemon left.
 * @throws EnvironmentError when the file cannot be written
 */
export function writePidFile(path: string): void {
  const text = `${Deno.pid}\n`;
  const temporary = temporaryOf(path);
  try {
    expectReplaceable(path);
    if (!madeFile(temporary, text)) {
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
    throw cannotWrite(path, error);
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

function temporaryOf(path: string): string {
  return `${path}.${Deno.pid}.tmp`;
}

/** False where no file may be made in its directory. */
function madeFile(path: string, text: string): boolean {
  try {
    Deno.writeTextFileSync(path, text, { mode: 0o644 });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

function cannotWrite(path: string, error: unknown): EnvironmentError {
  const why = error instanceof Deno.errors.NotFound
    ? "no such directory, or no right to make a file in it"
    : reasonOf(error);
  return new EnvironmentError(
    `Cannot write the pid file ${path}: ${why}; give a writable place with --pid-file`,
  );
}
