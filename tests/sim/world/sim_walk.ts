/**
 * What `shim/helper/walk.c` lists, over the simulated disk: directory by directory, while programs go
 * on changing it.
 *
 * @module
 */

import type { WalkRecord } from "../../../ffi/walk.ts";
import { asDepotPath, type Disk, S_IFDIR, statOf } from "./disk.ts";

/** Files reported at once. */
const PAGE = 4;

/** Yields null between system calls, and pages of records. */
export function* walkSteps(
  disk: Disk,
  start: string,
): Generator<WalkRecord[] | null, void, void> {
  let page: WalkRecord[] = [];
  const waiting = [start];
  for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
    const prefix = dir === "" ? "" : `${dir}/`;
    const entries = disk.list(dir);
    yield null;
    for (const { name, isDirectory } of entries) {
      const path = prefix + name;
      if (path === ".p4cache") continue;
      if (isDirectory) {
        waiting.push(path);
        continue;
      }
      const inode = disk.file(path);
      yield null;
      if (inode === null) continue;
      page.push({ kind: "file", path: asDepotPath(path), errno: 0, ...statOf(inode) });
      if (page.length === PAGE) {
        yield page;
        page = [];
      }
    }
  }
  if (page.length > 0) yield page;
}

/** The same of directories, parents first: what each was called when it was come to. */
export function* walkDirectorySteps(
  disk: Disk,
): Generator<WalkRecord[] | null, void, void> {
  const waiting = [""];
  for (let dir = waiting.pop(); dir !== undefined; dir = waiting.pop()) {
    const prefix = dir === "" ? "" : `${dir}/`;
    const below = disk.list(dir).filter(({ name, isDirectory }) =>
      isDirectory && prefix + name !== ".p4cache"
    );
    yield below.map(({ name }) => ({ ...DIRECTORY, path: asDepotPath(prefix + name) }));
    waiting.push(...below.map(({ name }) => prefix + name));
  }
}

const DIRECTORY = {
  kind: "directory",
  errno: 0,
  size: 0,
  mtimeNs: 0n,
  ctimeNs: 0n,
  mode: S_IFDIR | 0o755,
  nlink: 2,
} as const;
