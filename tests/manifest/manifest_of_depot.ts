/**
 * A temporary depot with its manifest, for one test.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";

/**
 * Runs the test, and removes the depot after it.
 * @param prefix Begins the storage key of every row.
 */
export async function withDepot(
  test: (files: DepotFiles, manifest: Manifest) => Promise<void>,
  prefix = "",
): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "manifest" });
  Deno.mkdirSync(`${dir}/.p4cache/manifest`, { recursive: true });
  const files = new DepotFiles(dir);
  const manifest = openManifest(`${dir}/.p4cache/manifest`, (path) => prefix + path, (error) => {
    if (error !== null) throw error;
  });
  try {
    await test(files, manifest);
  } finally {
    await manifest.close();
    files.close();
    Deno.removeSync(dir, { recursive: true });
  }
}
