/**
 * Checks the promises of the design against the simulated world, after each step, where something
 * changed.
 *
 * P1  What p4d wrote is on the disk, in the trash on its way back, or in the bucket: for each file.
 * P2  What is at a path is what p4d wrote there: whole, the latest version, with its mode.
 * P3  NOTFOUND only for what p4d never had or removed (checked by the programs, at each answer); what
 *     it removed stays away, when the daemon saw everything.
 * P5  What is in memory is bounded.
 *
 * @module
 */

import type { Activity } from "../../src/cache/activity.ts";
import type { Ledger, LogicalFile } from "./ledger.ts";
import type { Disk, Inode } from "./world/disk.ts";
import { type Bucket, describe } from "./world/sim_backend.ts";

/** Steps after which the daemon has seen a new file. */
const SEEN_STEPS = 300;

const PERMISSIONS = 0o7777;

/** A promise that was broken. */
export class Violation extends Error {
  constructor(readonly promise: string, what: string) {
    super(`${promise}: ${what}`);
  }
}

/** See the module. */
export class Promises {
  readonly #disk: Disk;
  readonly #ledger: Ledger;
  readonly #bucket: Bucket;
  readonly #secondary: Bucket | null;
  readonly #suspects = new Set<string>();
  /** Whether the daemon is never killed and no event lost: then no deleted file may come back. */
  seesAll = false;
  /** Deleted files that came back, as they may when nobody saw the delete. */
  cameBack = 0;

  /** @param secondary What it has counts where the bucket has nothing. */
  constructor(disk: Disk, ledger: Ledger, bucket: Bucket, secondary: Bucket | null) {
    this.#disk = disk;
    this.#ledger = ledger;
    this.#bucket = bucket;
    this.#secondary = secondary;
    const suspect = (path: string) => void this.#suspects.add(path);
    disk.onChange = suspect;
    ledger.onChange = suspect;
    bucket.onChange = (path) => {
      suspect(path);
      for (const [now, { wasRenamed }] of ledger.files) if (wasRenamed) suspect(now);
    };
  }

  /** Looks at every path that something happened to. @throws Violation */
  check(): void {
    for (const path of this.#suspects) {
      if (path.startsWith(".p4cache")) this.#checkAll();
      else this.#checkPath(path);
    }
    this.#suspects.clear();
  }

  #checkAll(): void {
    for (const path of this.#ledger.files.keys()) this.#checkPath(path);
  }

  #checkPath(path: string): void {
    const believed = this.#ledger.get(path);
    const there = this.#disk.file(path);
    if (believed === null) {
      if (there !== null) this.#adopt(path, there);
    } else if (there !== null) {
      this.#checkFile(path, believed, there);
    } else if (
      // One that is being deleted may be gone before the answer.
      !this.#ledger.removing.has(path) && !this.#isStoredSomewhere(path, believed) &&
      !this.#isInTrash(believed)
    ) {
      if (believed.cameBack) return this.#ledger.remove(path);
      throw new Violation("P1", `lost: p4d wrote ${this.difference(path, believed)}`);
    }
  }

  #checkFile(path: string, believed: LogicalFile, there: Inode): void {
    const mode = there.mode & PERMISSIONS;
    if (sameBytes(believed.content, there.content) && believed.mode === mode) return;
    throw new Violation(
      "P2",
      `${path} is ${describe(there.content)} mode ${mode.toString(8)}, but p4d wrote ` +
        `${describe(believed.content)} mode ${believed.mode.toString(8)}`,
    );
  }

  /** At its path; or where it was before a directory was renamed, or on its way from there. */
  #isStoredSomewhere(path: string, believed: LogicalFile): boolean {
    if (believed.wasRenamed) {
      const paths = [this.#bucket, this.#secondary].flatMap((b) => [...b?.objects.keys() ?? []]);
      return paths.some((each) => this.isStored(each, believed));
    }
    return this.isStored(path, believed);
  }

  /** Whether the bucket holds the file as p4d wrote it. */
  isStored(path: string, believed: LogicalFile): boolean {
    const object = this.#bucket.objects.get(path) ?? this.#secondary?.objects.get(path);
    return object !== undefined && object.info.mode === believed.mode &&
      sameBytes(object.bytes, believed.content);
  }

  /** What p4d wrote, and what the bucket has, for people. */
  difference(path: string, believed: LogicalFile): string {
    const object = this.#bucket.objects.get(path);
    const stored = object === undefined
      ? "nothing"
      : `${describe(object.bytes)} mode ${object.info.mode?.toString(8)}`;
    return `${describe(believed.content)} mode ${
      believed.mode.toString(8)
    } to ${path}; the bucket ` +
      `has ${stored}`;
  }

  #isInTrash(believed: LogicalFile): boolean {
    return this.#disk.list(".p4cache/trash").some(({ name }) => {
      const inode = this.#disk.file(`.p4cache/trash/${name}`)!;
      return (inode.mode & PERMISSIONS) === believed.mode &&
        sameBytes(inode.content, believed.content);
    });
  }

  /** From now on p4d sees it. */
  #adopt(path: string, there: Inode): void {
    // One put back from the trash has its logical file still: it was replaced, and that one removed,
    // all during its eviction.
    const isRestored = there.logical === null;
    // And one that took an evicted file's place, and was removed before its first event was seen.
    const wasSeen = this.#ledger.ageAtRemoval(path) > SEEN_STEPS;
    if (this.seesAll && isRestored && wasSeen) {
      throw new Violation("P3", `${path} came back, though p4d removed it`);
    }
    this.cameBack++;
    const mode = there.mode & PERMISSIONS;
    const file = { content: there.content, mode, wasRenamed: false, cameBack: true };
    there.logical = file;
    this.#ledger.set(path, file);
  }

  /** @throws Violation */
  checkMemory(activity: Activity, uploadsAtMost: number, evictionsAtMost: number): void {
    const { uploads, evictions } = activity;
    if (uploads.size > uploadsAtMost) throw new Violation("P5", `${uploads.size} uploads`);
    if (evictions.size > evictionsAtMost) throw new Violation("P5", `${evictions.size} evictions`);
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  // Beyond this all contents are alike (programs.ts): a large file is told apart by its beginning.
  const length = Math.min(a.length, 8192);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}
