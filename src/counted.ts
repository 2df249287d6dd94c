/**
 * Counts of things in messages.
 *
 * @module
 */

/** `1 file`, `2 files`. @param many Where it is not the one with an s. */
export function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
