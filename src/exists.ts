/**
 * Whether there is something at a path.
 *
 * @module
 */

/** A link counts for itself. @throws Deno.errors when that cannot be looked at. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
