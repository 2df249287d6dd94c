/**
 * The Prometheus textfile for node_exporter.
 *
 * @module
 */

/** Writes the file so that a reader sees the old content or the new one, never a part. */
export async function writeMetricsFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${Deno.pid}.tmp`;
  try {
    await Deno.writeTextFile(temporary, text, { mode: 0o644 });
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
