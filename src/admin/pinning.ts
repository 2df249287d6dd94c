/**
 * `p4-cache pin`, `unpin` and `pins`.
 *
 * @module
 */

import { isRegular } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import { displayPath } from "../depot_path.ts";
import type { Pins } from "../cache/pins.ts";
import type { Manifest } from "../manifest/manifest.ts";

/** What a pin or unpin did; for people. */
export interface PinReport {
  readonly pins: string[];
  /** Of an unpin: no such pin. */
  readonly unknown: string[];
}

/** Pins the paths; a directory that is there is meant with all below, as is any path ending with "/". */
export async function pin(
  pins: Pins,
  manifest: Manifest,
  files: DepotFiles,
  paths: readonly string[],
): Promise<PinReport> {
  const wanted = paths.map((path) => path.endsWith("/") ? path : withSlash(files, path));
  for (const path of wanted) pins.add(path);
  await manifest.commit();
  return { pins: wanted.map(displayPath), unknown: [] };
}

/** Takes pins back, by the name with or without "/". */
export async function unpin(
  pins: Pins,
  manifest: Manifest,
  paths: readonly string[],
): Promise<PinReport> {
  const report: PinReport = { pins: [], unknown: [] };
  for (const path of paths) {
    const found = [path, path + "/"].find((each) => pins.remove(each));
    (found === undefined ? report.unknown : report.pins).push(displayPath(found ?? path));
  }
  await manifest.commit();
  return report;
}

/** All pins, in pages. */
export async function* listPins(
  pins: Pins,
  manifest: Manifest,
): AsyncGenerator<string[], null, void> {
  await manifest.commit(); // pages are read from what is committed
  for (let after = "";;) {
    const page = await pins.after(after);
    if (page.length === 0) return null;
    yield page.map(displayPath);
    after = page.at(-1)!;
  }
}

function withSlash(files: DepotFiles, path: string): string {
  const there = files.stat(path);
  return there !== null && !isRegular(there) ? path + "/" : path;
}
