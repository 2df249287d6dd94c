/**
 * Errors that end the program with one line for people and an exit code, never with a stack trace.
 *
 * @module
 */

/** A wrong flag, key, value or command: the user's text has to change. Exit code 2. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly exitCode = 2;
}

/** The machine refuses: a missing capability, a full disk, a permission. Exit code 1. */
export class EnvironmentError extends Error {
  override readonly name = "EnvironmentError";
  readonly exitCode = 1;
}

/** Why a file that a setting names cannot be used, in words for people. */
export function fileProblem(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory";
  return reasonOf(error);
}

/**
 * Why it failed, in the system's words: "Permission denied". The runtime adds the number, the call and the
 * path, which our messages say themselves.
 */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/ \(os error \d+\).*$/s, "");
}
