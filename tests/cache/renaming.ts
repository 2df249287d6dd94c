/**
 * Depots whose directories are renamed, with files on disk and evicted ones.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { Engine, type EngineOptions } from "./engine.ts";

/** An engine whose files were uploaded; those that begin with "cold" are evicted. */
export async function withFiles(
  files: Record<string, string>,
  options: EngineOptions = {},
): Promise<Engine> {
  const engine = new Engine({ ...options, lowWatermarkBytes: 1_000_000 });
  for (const [name, content] of Object.entries(files)) engine.write(name, content);
  engine.uploader.start();
  await engine.settled();
  for (const name of Object.keys(files)) {
    if (!name.includes("cold")) engine.pins.add(name);
  }
  await engine.evictor.makeRoom(1_000_000);
  for (const name of Object.keys(files)) {
    assertEquals(engine.has(name), !name.includes("cold"), name);
  }
  engine.primary.calls.length = 0;
  return engine;
}

/** What the kernel tells of `mv from to`. */
export async function move(engine: Engine, from: string, to: string): Promise<void> {
  Deno.renameSync(`${engine.dir}/${from}`, `${engine.dir}/${to}`);
  await tellMoved(engine, from, to);
}

export async function tellMoved(engine: Engine, from: string, to: string): Promise<void> {
  await engine.intake.renamed(from as DepotPath, to as DepotPath);
  await engine.intake.treeGone(from as DepotPath);
  await engine.scanner.scanTree(to as DepotPath);
}

/** p4d removes a directory with its one evicted file. */
export async function removeWithCold(engine: Engine, dir: string): Promise<void> {
  Deno.removeSync(`${engine.dir}/${dir}`, { recursive: true });
  engine.intake.gone(`${dir}/cold` as DepotPath, true);
  await engine.intake.treeGone(dir as DepotPath);
}

export async function carriedOut(engine: Engine): Promise<void> {
  while (engine.renames.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await engine.settled();
}

/** What a FETCH of the path gives: the file's content, or the answer's kind. */
export const fetch = async (engine: Engine, name: string) => {
  const answer = await engine.restorer.fetch(name);
  return answer.kind === "ok" ? engine.read(name) : answer.kind;
};
