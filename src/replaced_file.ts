/**
 * What a file of ours may take the place of: nothing, a file, or a link. Root may rename over a device
 * such as /dev/null, and every program of the machine would miss it.
 *
 * @module
 */

/**
 * Call before a rename or a chmod(2) onto a path that somebody else chose.
 * @throws Error where something else than a file or a link is, and of the file system
 */
export function expectReplaceable(path: string): void {
  try {
    const { isFile, isSymlink } = Deno.lstatSync(path);
    if (!isFile && !isSymlink) throw new Error("something that is not a file is there");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
