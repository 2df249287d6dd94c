/**
 * Bugs to plant in a copy of the program, as textual edits: each breaks a promise, and the simulation
 * must find it (`mutations.ts`).
 *
 * What the C helper does is simulated (`world/`), system call by system call; bugs of the C side are
 * planted there.
 *
 * @module
 */

import type { Edit } from "../mutations/planting.ts";

/** A bug, in words and as edits. */
export interface PlantedBug {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Takes worlds in which directories are renamed all the time. */
  readonly inRenames?: boolean;
}

const EVICT_BATCH = "src/cache/evict_batch.ts";
const FETCH = "src/cache/object_fetch.ts";
const GARBAGE = "src/cache/garbage.ts";
const IDENTITIES = "src/cache/directory_identities.ts";
const INTAKE = "src/cache/intake.ts";
const COMMITS = "src/manifest/group_commit.ts";
const RENAMED_RECORDS = "src/cache/renamed_records.ts";
const MANIFEST = "src/manifest/manifest.ts";
const RENAMES = "src/cache/directory_renames.ts";
const RESTORER = "src/cache/restorer.ts";
const TRANSITIONS = "src/manifest/transitions.ts";
const UNSEEN = "src/cache/unseen_changes.ts";
const UNSETTLED = "src/cache/unsettled.ts";
const UPLOAD = "src/cache/version_upload.ts";
const UPLOADER = "src/cache/uploader.ts";
const KERNEL_EVICTION = "tests/sim/world/sim_eviction.ts";
const KERNEL_FILES = "tests/sim/world/sim_files.ts";
const KERNEL_WATCH = "tests/sim/world/sim_watcher.ts";

/** @param edits File, text, and what stands there instead. */
export function bug(
  name: string,
  ...edits: readonly (readonly [string, string, string])[]
): PlantedBug {
  return { name, edits: edits.map(([file, find, replace]) => ({ file, find, replace })) };
}

/** {@link bug} that shows where directories are renamed all the time. */
function bugInRenames(...bugParts: Parameters<typeof bug>): PlantedBug {
  return { ...bug(...bugParts), inRenames: true };
}

/** In the order of a file's life. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  bug("a write event leaves a clean file clean", [
    TRANSITIONS,
    "  if (before !== null && before.row.state !== CLEAN) {",
    "  if (before !== null && before.row.state === CLEAN) return before;\n" +
    "  if (before !== null && before.row.state !== CLEAN) {",
  ]),
  bug("new files of a walk are recorded over what changed meanwhile", [
    MANIFEST,
    "    if (since.has(files)) return false;\n",
    "",
  ]),
  bug("an upload does not look whether an event came", [
    UPLOAD,
    "if (!upload.changed) this.#markClean",
    "this.#markClean",
  ]),
  bug("a file is clean before its put ends", [
    UPLOAD,
    "      const etag = known ??",
    '      this.#markClean(path, content, "early");\n      const etag = known ??',
  ]),
  bug("a put that failed counts as done", [
    UPLOAD,
    "(await backend.put(path, content, this.#signal)).etag",
    '(await backend.put(path, content, this.#signal).catch(() => ({ etag: "" }))).etag',
  ]),
  bug("files open for writing are uploaded, changes meanwhile unseen", [
    KERNEL_FILES,
    'if (this.#disk.isBeingWritten(inode)) return { kind: "beingWritten" };',
    "",
  ], [UPLOAD, "if (!upload.changed) this.#markClean", "this.#markClean"]),
  bug("requests of unknown outcome are not noted", [
    UNSETTLED,
    "    this.#table.set(path, encodeTime(this.#parts.nowSeconds()));",
    "",
  ]),
  bug("a commit that failed counts as done", [
    COMMITS,
    "        this.#onError(error);\n",
    "        this.#onError(error);\n        return;\n",
  ]),
  bug("the lease is skipped", [
    KERNEL_EVICTION,
    '  if (!disk.lease(file)) return "in_use";',
    "",
  ], [
    KERNEL_EVICTION,
    'if (inode.lease === null || inode.lease.breaking) outcomes[i] = "in_use";',
    "if (false) continue;",
  ], [KERNEL_EVICTION, "lease !== null && !lease.breaking", "true"]),
  bug("the lease is not looked at again", [
    KERNEL_EVICTION,
    'if (inode.lease === null || inode.lease.breaking) outcomes[i] = "in_use";',
    "if (false) continue;",
  ], [KERNEL_EVICTION, "lease !== null && !lease.breaking", "true"]),
  bug("the version is not compared before the eviction", [
    KERNEL_EVICTION,
    'if (!isSameVersion(statOf(inode), uploaded)) return "changed";',
    "",
  ], [
    KERNEL_EVICTION,
    "else if (!isSameVersion(now, file.candidate)) outcomes",
    "else if (false) outcomes",
  ]),
  bug("hard-linked files are evicted", [
    KERNEL_EVICTION,
    'if (inode.nlink !== 1) return "linked";',
    "",
  ], [KERNEL_EVICTION, "else if (now.nlink !== 1) outcomes", "else if (false) outcomes"]),
  bug("events during an eviction are ignored", [
    EVICT_BATCH,
    'checked[i] === "taken" && (!eviction.touched || eviction.isGone)',
    'checked[i] === "taken"',
  ]),
  bug("a file is put back over a newer one", [
    KERNEL_FILES,
    "{ replace: false, byDaemon: true }",
    "{ replace: true, byDaemon: true }",
  ]),
  bug("a restore is placed with a plain rename", [
    KERNEL_FILES,
    "      this.#disk.link(inode, path, true);",
    "      if (this.#disk.file(path) !== null) this.#disk.unlink(path, true);\n" +
    "      this.#disk.link(inode, path, true);",
  ]),
  bug("a restore's digest is ignored", [
    FETCH,
    "if (info.digest === null || info.digest === digest) return;",
    "return;",
  ]),
  bug("an error of the storage counts as absent", [
    RESTORER,
    'if (error.kind !== "absent") failures.push(error);',
    "",
  ]),
  bug("an older version comes from the secondary when the primary fails", [
    RESTORER,
    "if (failures.length > 0 && !this.#parts.readOnly && !isWrittenOnce(path)) break;",
    "",
  ]),
  bug("an object is removed while its file is uploaded", [
    GARBAGE,
    "if (activity.uploads.has(path) || activity.restores.has(path)) return false;",
    "",
  ], [UPLOADER, "return activity.objects.has(path) || renames.isHeld(path);", "return false;"]),
  bug("nobody waits for events that were told and not dealt with", [
    KERNEL_WATCH,
    "&& !this.#hasSome",
    "",
  ]),
  bug("a delete leaves no tombstone", [
    INTAKE,
    "    if (!isRemoved && manifest.get(path) === null) return;\n    this.#bury(path, isTold);",
    "    if (!isRemoved && manifest.get(path) === null) return;\n    manifest.set(path, null);\n    return;",
  ]),
  bug("an eviction leaves a tombstone", [
    EVICT_BATCH,
    "        manifest.set(file.path, null);\n",
    "        manifest.set(file.path, null);\n" +
    "        manifest.setTombstone(file.path, { deletedAtSeconds: 1, collected: false });\n",
  ]),
  bug("a late close of a replaced file counts as a delete", [
    INTAKE,
    "    if (!isRemoved && manifest.get(path) === null) return;\n    this.#bury(path, isTold);",
    "    this.#bury(path, isTold);",
  ]),
  bug("a restore is placed under the name that its directory had", [
    RESTORER,
    ": files.placeSmall(path, content, mode, mtimeNs, parent);",
    ": files.placeSmall(path, content, mode, mtimeNs);",
  ], [
    RENAMED_RECORDS,
    "files.stat(to) !== null || activity.evictions.has(to)",
    "true",
  ]),
  bug("a restore does not wait until it is known which directory it is in", [
    RESTORER,
    "await this.#parts.whereabouts(path);\n        // One",
    "// One",
  ]),
  bugInRenames("renames that nobody saw are taken in from where directories were at first", [
    IDENTITIES,
    "const from = this.pathOf(identity);",
    "const from = moves.find((each) => each.identity === identity)!.from;",
  ]),
  bug("a file goes back to the name that its directory had", [
    KERNEL_EVICTION,
    "const to = disk.pathIn(parent, path);",
    "const to = path;",
  ]),
  bug("every file that is recorded counts as moved with its directory", [
    RENAMED_RECORDS,
    "files.stat(to) !== null || activity.evictions.has(to)",
    "true",
  ]),
  bug("uploads do not wait for the copies of a rename", [
    RENAMES,
    "return this.#log.pending.some(({ from }) => path.startsWith(from));",
    "return false;",
  ]),
  bug("a restore does not look through renames", [
    RENAMES,
    "    if (renames.length === 0) return true;\n",
    "    return true;\n",
  ]),
  bug("directories are not known again", [
    IDENTITIES,
    "if (from !== path) found.push({ identity, from, to: path });",
    "",
  ]),
  bug("the scan does not compare times", [
    TRANSITIONS,
    "version.size === size && version.mtimeNs === mtimeNs &&",
    "version.size === size &&",
  ], [KERNEL_EVICTION, "a.size === b.size && a.mtimeNs === b.mtimeNs &&", "a.size === b.size &&"]),
  bug("nothing is doubted after events were lost", [
    UNSEEN,
    "    this.#doubtFrom(this.#certainUntilNs());\n    this.#parts.activity.touchAll();",
    "    this.#parts.activity.touchAll();",
  ]),
  bug("nothing is doubted that happened while no daemon ran", [
    UNSEEN,
    "!manifest.needsRecount) this.#doubtFrom(told);",
    "manifest.needsRecount) this.#doubtFrom(told);",
  ]),
  bug("what is in doubt is evicted", [
    KERNEL_EVICTION,
    'if (doubtedFromNs !== null && inode.ctimeNs >= doubtedFromNs) return "doubtful";',
    "",
  ]),
];
