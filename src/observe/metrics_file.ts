/**
 * The Prometheus textfile for node_exporter.
 *
 * @module
 */

/** Readable by the collector, whatever the daemon's umask. */
const FILE_MODE = 0o644;

/**
 * Writes the file so that a reader sees the old content or the new one, never a part.
 * @throws Error of the file system; nothing is left beside the file then.
 */
export async function writeMetricsFile(path: string, text: string): Promise<void> {
  // The collector reads only `*.prom`. A link that somebody laid at this name is not followed.
  const temporary = `${path}.${Deno.pid}.tmp`;
  await Deno.remove(temporary).catch(() => {}); // left by a crash; usually there is none
  try {
    await Deno.writeTextFile(temporary, text, { createNew: true });
    await Deno.chmod(temporary, FILE_MODE);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
