/**
 * Files carried inside the binary: the C helper library, the preload library, the page to look at.
 *
 * @module
 */

/** Names of the files that `deno compile --include` embeds beside the program. */
export type AssetName = "libp4helper.so" | "libp4shim.so" | "dashboard.html";

/**
 * Reads an embedded file; in a source checkout, the one in `build/`.
 * @throws Deno.errors.NotFound when neither exists (`deno task build` makes them).
 */
export function readAsset(name: AssetName): Uint8Array<ArrayBuffer> {
  // In the compiled program this module is bundled beside the assets; in a checkout it is in src/.
  const places = [`./${name}`, `../${name}`, `../build/${name}`, `./admin/${name}`];
  for (const place of places) {
    try {
      return Deno.readFileSync(new URL(place, import.meta.url));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Deno.errors.NotFound(`Cannot find ${name}: run 'deno task build' first`);
}
