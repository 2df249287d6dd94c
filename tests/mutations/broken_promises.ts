/**
 * Promises of the project, in one list however long, each with an edit that breaks it and the test that must fail then
 * (`mutations.ts`). What several daemons and crashes at any step may do is broken in the simulation
 * (`tests/sim/planted_bugs.ts`); here are the parts that it replaces: the kernel's side, the preload
 * library, the storages, the sockets, and what people use.
 *
 * @module
 */

import type { Edit } from "./planting.ts";

/** A promise that is broken by the edits. */
export interface BrokenPromise {
  /** By its number in docs/architecture.md, or what it is about. */
  readonly promise: string;
  readonly what: string;
  readonly edits: readonly Edit[];
  readonly test: string;
  /** Of the test, or a part of it that no other test of the file has. */
  readonly name: string;
  /** What has to be built for the test where the edit needs it. */
  readonly builds: "c" | "binary";
}

/** @param edit File, text that stands there once, and what stands there instead. */
function broken(
  promise: string,
  what: string,
  [file, find, replace]: readonly [string, string, string],
  [test, name]: readonly [string, string],
  builds: BrokenPromise["builds"] = "c",
): BrokenPromise {
  return { promise, what, edits: [{ file, find, replace }], test: `tests/${test}`, name, builds };
}

const ENGINE = "cache/engine_test.ts", EVICTION = "ffi/evict_test.ts", WATCH = "ffi/watch_test.ts";
const BARRIER = "cache/barrier_test.ts", UNSEEN = "cache/unseen_changes_test.ts";
const SHIM = "shim/shim_test.ts", SHIM_EDGES = "shim/edges_test.ts";
const EVICT_C = "shim/helper/evict.c",
  FILES_C = "shim/helper/files.c",
  WATCH_C = "shim/helper/watch.c";
const RECOVER_C = "shim/preload/recover.c", NEGATIVE_C = "shim/preload/negative.c";

/** In the order of the promises. */
export const BROKEN_PROMISES: readonly BrokenPromise[] = [
  broken("P1", "a file is let go though somebody has it open", [
    EVICT_C,
    "    else if (fcntl(fd, F_SETLEASE, F_WRLCK))",
    "    else if (fcntl(fd, F_SETLEASE, F_WRLCK) && errno != EAGAIN)",
  ], [EVICTION, "a file that is open, hard-linked, changed or gone is never taken"]),
  broken("P1", "an opener that comes after the lease is not looked for", [
    EVICT_C,
    "        if (fcntl(file->fd, F_GETLEASE) != F_WRLCK)\n            results[i] = P4_EVICT_IN_USE;\n        else if (error)",
    "        if (error)",
  ], [EVICTION, "an opener that arrives after the lease breaks it, and finds its file back"]),
  broken("P1", "a hard-linked file is evicted", [
    EVICT_C,
    "    if (now.nlink != 1)\n        result = P4_EVICT_LINKED;",
    "    if (now.nlink == 0)\n        result = P4_EVICT_LINKED;",
  ], [EVICTION, "a file that is open, hard-linked, changed or gone is never taken"]),
  broken("P1", "a file goes back over one that was written meanwhile", [
    EVICT_C,
    "    if (!renameat2(batch->trash, name, file->parent, last_name(file), RENAME_NOREPLACE)) return 0;",
    "    if (!renameat2(batch->trash, name, file->parent, last_name(file), 0)) return 0;",
  ], [EVICTION, "a file written anew at the path is never overwritten by putting back"]),
  broken("P1", "events of the mount only are watched, not of the filesystem", [
    WATCH_C,
    "FAN_MARK_ADD | FAN_MARK_FILESYSTEM, by_handle",
    "FAN_MARK_ADD | FAN_MARK_MOUNT, by_handle & FAN_CLOSE_WRITE",
  ], [WATCH, "writes through a bind mount and from another mount namespace are seen"]),
  broken("P1", "an upload of a file that somebody is writing counts", [
    FILES_C,
    "    if (fcntl(fd, F_SETLEASE, F_RDLCK)) return errno == EAGAIN;",
    "    if (fcntl(fd, F_SETLEASE, F_RDLCK)) return 0;",
  ], [ENGINE, "a file that somebody is writing waits, and goes when it is closed"]),
  broken("P1", "an event that comes during an eviction is not looked at", [
    "src/cache/evict_batch.ts",
    "(!eviction.touched || eviction.isGone)",
    "(!eviction.isGone || eviction.isGone)",
  ], [ENGINE, "P1: a file whose event comes during its eviction goes back and is uploaded again"]),
  broken("P1", "the comparison takes what the manifest knows for unchanged", [
    "src/cache/scanner.ts",
    "      if (size < 0 || (looksKnown && !this.#isDoubtful(record))) continue;",
    "      if (size < 0 || !areNew[i]) continue;",
  ], [ENGINE, "the scan finds what no event told: new, changed, gone"]),
  broken("P1", "what may have changed unseen is believed by its looks", [
    "src/cache/unseen_changes.ts",
    "row.createdAt >= doubt.untilSeconds ? null : doubt.fromNs;",
    "row.createdAt >= doubt.untilSeconds ? null : null;",
  ], [
    UNSEEN,
    "P1: between a loss and its comparison, what may have changed is stored",
  ]),
  broken("P1", "after a power cut the noted files are not looked at", [
    "src/cache/power_cut.ts",
    "      await this.#verifyUnsynced(marked);",
    "",
  ], [
    "cache/power_cut_test.ts",
    "P2: a file with the stored version's size and time, and other bytes",
  ]),
  broken("P1", "a file in the trash goes back by its name, wherever its directory is", [
    "src/cache/trash.ts",
    "    else if (findsRenames && !isAtHome(files, entry)) left.set(name, entry);\n",
    "",
  ], [
    "cache/evicted_directories_test.ts",
    "P1: killed with a file in the trash; its directory is elsewhere, and another has its name",
  ]),
  broken("P1", "an entry of the trash does not say which directory the file is of", [
    "src/manifest/trash_entries.ts",
    "const value = directory === null ? path",
    "const value = directory !== undefined ? path",
  ], [
    "cache/evicted_directories_test.ts",
    "P1: killed with a file in the trash; its directory is elsewhere, and another has its name",
  ]),
  broken("P1", "an entry of the trash is of the directory that was there, as far as is known", [
    "src/cache/directory_identities.ts",
    'const identity = dir === "" ? null : files.identity(dir);',
    'const identity = dir === "" ? null : this.#notes.known(dir) ?? files.identity(dir);',
  ], [
    "cache/evicted_directories_test.ts",
    "P1: two directories have changed places before their events come; then the daemon is killed",
  ]),
  broken(
    "P1",
    "what was deleted during a search for renames was so before the rename that is found",
    [
      "src/cache/rename_log.ts",
      "if (isFound && this.#search.isDeletedSince(path, tombstone.order)) {",
      "if (isFound && !this.#search.isDeletedSince(path, tombstone.order)) {",
    ],
    [
      "cache/evicted_directories_test.ts",
      "P1: what is deleted under the old name before a rename is found is not what was renamed",
    ],
  ),
  broken("P1", "a renamed directory's object is copied to where another one is being removed", [
    "src/cache/directory_renames.ts",
    "        if (!this.#isBusy(to)) break;\n",
    "        break;\n",
  ], [
    "cache/directory_renames_test.ts",
    "that has begun at the new path does not come over the copy",
  ]),
  broken("P1", "a file is taken from a directory that was away when it was looked at", [
    "src/cache/directory_identities.ts",
    "    if (identity === null) return files.stat(dir) !== null && files.identity(dir) === null;\n",
    "    if (identity === null) return true;\n",
  ], [
    "cache/evicted_directories_test.ts",
    "P1: of a directory that was away when it was looked at nothing is taken",
  ]),
  broken("P1", "a file is taken whose directory could not be noted", [
    "src/cache/evict_batch.ts",
    'identities.remember(dir) ? "known" : "unknown"',
    'identities.remember(dir) ? "known" : "known"',
  ], [
    "cache/evicted_directories_test.ts",
    "P1: of a directory that is not known nothing is taken while directories are renamed",
  ]),
  broken("P1", "an eviction does not move along with its directory", [
    "src/cache/directory_renames.ts",
    "      activity.moveEviction(eviction, newPath(rename, eviction.path));\n",
    "",
  ], [
    "cache/evicted_directories_test.ts",
    "P1: mv a b; mv c a while a/f is in the trash",
  ]),
  broken("P1", "a file is taken from whatever directory has the path", [
    EVICT_C,
    "    if (fd < 0 || !wanted->identity_len) return fd;\n",
    "    if (fd < 0 || wanted->identity_len) return fd;\n",
  ], [EVICTION, "a file is taken from the directory that is meant, not from another one"]),
  broken("P1", "a file that was not let go is removed from the trash", [
    "src/cache/trash.ts",
    "    if (entry === undefined) files.unlink(",
    "    if (entry === undefined || !findsRenames) files.unlink(",
  ], [ENGINE, "the trash of an interrupted eviction: not let go goes back, let go is removed"]),
  broken("P2", "a restored file gets its name without a mark", [
    "src/cache/restorer.ts",
    "    const mark = marks.add(path, { mtimeNs, digest });\n    try {",
    "    const mark: readonly string[] = [];\n    try {",
  ], [
    "cache/restore_marks_test.ts",
    "P2: wherever the power cuts a restore, and whatever the disk kept, no torn file is at a path",
  ]),
  broken("P2", "a mark goes before its record is durable", [
    "src/cache/restore_marks.ts",
    "        await this.#parts.manifest.durable();",
    "",
  ], [
    "cache/restore_marks_test.ts",
    "a mark stays until its record is durable",
  ]),
  broken("P1", "a write is let through without the lease", [
    "src/cluster/leased_backend.ts",
    "    if (!this.#right.isHeld) throw this.#refused();",
    "",
  ], [
    "cluster/leased_backend_test.ts",
    "without the lease nothing is written, and everything is read",
  ]),
  broken("P1", "an opened file that was evicted meanwhile is written to", [
    RECOVER_C,
    "    if (!syscall(SYS_fstat, fd, &opened) && S_ISREG(opened.st_mode)) {",
    "    if (!syscall(SYS_fstat, fd, &opened) && S_ISFIFO(opened.st_mode)) {",
  ], ["shim/race_test.ts", "P1: a file that is evicted again and again is EIO"]),
  broken("P1", "an open that may create does not ask the daemon", [
    RECOVER_C,
    "    int found = try_again(tries) ? find(dirfd, path, 0) : FAILED;\n    errno = found == FAILED ? EIO : ENOENT;\n    return found == FAILED ? -1 : found != ABSENT;",
    "    (void)tries, (void)dirfd, (void)path;\n    return 0;",
  ], [SHIM_EDGES, "appending to an evicted file keeps what was in it"]),
  broken("P1", "an upload that another program left half done counts as done", [
    "src/manifest/recount.ts",
    "    if (row.state !== CLEAN) {",
    "    if (row.state === 0) {",
  ], ["manifest/manifest_test.ts", "an environment that another program wrote is recounted"]),
  broken("P1", "a deletion is kept no record of", [
    "src/cache/intake.ts",
    "    manifest.setTombstone(path, { deletedAtSeconds: nowSeconds(), collected: false });",
    "",
  ], [ENGINE, "a file deleted while it is uploaded stays deleted"]),
  broken("P1", "an object is removed before its grace is over", [
    "src/cache/garbage.ts",
    "        if (collected || nowSeconds() - deletedAtSeconds < graceSeconds) continue;",
    "        if (collected || nowSeconds() < graceSeconds) continue;",
  ], ["cache/garbage_test.ts", "a deleted file's object is removed after the grace, not before"]),
  broken("P1", "an object is removed though its file was written again", [
    "src/cache/garbage.ts",
    "    return there === null || !isRegular(there);",
    "    return there === null || isRegular(there);",
  ], [
    "cache/garbage_test.ts",
    "P1: a file written again whose event is still on its way keeps its object",
  ]),
  broken("P1", "what storage has under a name is taken for the file", [
    "src/cache/stored_before.ts",
    "  if (object.digest !== null) return object.digest === content.digest;",
    "  if (object.digest !== null) return true;",
  ], ["cache/stored_before_test.ts", "that may be stored already"]),
  broken("P1", "an older version comes from the secondary", [
    "src/cache/restorer.ts",
    "      if (failures.length > 0 && !this.#parts.readOnly && !isWrittenOnce(path)) break;",
    "      if (failures.length > 1) break;",
  ], [
    ENGINE,
    "P1: no older version comes from the secondary while the primary cannot say what it has",
  ]),
  broken("P1", "a manifest from a backup is believed at once", [
    "src/backup/restore_manifest.ts",
    "  new RestoredMark(manifest).set(sinceSeconds);",
    "",
  ], ["backup/restore_manifest_test.ts", "1 and 7: the manifest is marked"]),
  broken("P2", "an object's digest is not compared", [
    "src/cache/object_fetch.ts",
    "  if (info.digest === null || info.digest === digest) return;",
    "  if (info.digest === null || digest !== null) return;",
  ], [ENGINE, "P2: an object that does not agree with its digest is never delivered"]),
  broken("P2", "an answer that ends early is taken for whole", [
    "src/storage/http_wire.ts",
    '    if (count === null) throw new Deno.errors.UnexpectedEof("the server ended the connection");',
    "    if (count === null) return into.length;",
  ], [
    "storage/http_connections_test.ts",
    "an answer that was cut is an error, never a shorter answer",
  ]),
  broken("P1", "a body is sent to its end though the file is another version", [
    "src/storage/transfer_worker.ts",
    "        if (now.size !== size || now.mtimeNs !== mtimeNs) throw new OtherVersion();",
    "        void [now, size, mtimeNs];",
  ], [
    "storage/transfer_threads_test.ts",
    "P1: of a file that is another version at the end, no server gets a whole body",
  ]),
  broken("P1", "a directory keeps other bytes than those that were hashed", [
    "src/storage/nfs/nfs_backend.ts",
    "    if (hex(digest) === hex(content.sliceDigests[slice]!)) return;",
    "    if (digest.length === 32) return;",
  ], [
    "storage/nfs_test.ts",
    "P1, nfs: what is copied there is the version that was hashed, or it is not stored",
  ]),
  broken("P2", "a thread ends in the middle of its work", [
    "src/storage/transfer_threads.ts",
    "    for (const thread of this.#threads) if (thread.waiting.size === 0) this.#end(thread);",
    "    for (const thread of this.#threads) this.#end(thread);",
  ], ["storage/transfer_threads_test.ts", "P2: what is under way ends before its thread does"]),
  broken("P2", "a range of any version of an object in a directory is taken", [
    "src/storage/nfs/nfs_backend.ts",
    "        assertWanted(info);\n        if (offset + length > info.size) return null;",
    "        if (offset + length > info.size) return null;",
  ], [
    "storage/nfs_test.ts",
    "nfs: a range goes into its file without passing through memory, of the wanted version only",
  ]),
  broken("P2", "a restore takes the place of what was written meanwhile", [
    "src/cache/restorer.ts",
    "    if (placed === null) {",
    "    if (placed === null && files.unlink(path) === undefined) {",
  ], [ENGINE, "P2: a file written during its restore is not overwritten"]),
  broken("P3", "a file that p4d replaced and removed during its eviction comes back", [
    "src/cache/evict_batch.ts",
    "letGo[i]! || isObsolete(file, checked[i]!)",
    "letGo[i]!",
  ], [
    "cache/evict_batch_test.ts",
    "P3: what p4d replaces and then removes during an eviction does not come back, however late it is removed",
  ]),
  broken("P2", "a restored file has the time of its restore", [
    FILES_C,
    "    if (futimens(fd, times)) return -errno;",
    "    (void)times;",
  ], [ENGINE, "a file of several slices comes back whole, with mode and mtime"]),
  broken("P2", "a slice's share of an object that changed is taken", [
    "src/cache/object_fetch.ts",
    '          ...(info.etag === "" ? {} : { ifMatch: info.etag }),\n',
    "",
  ], [ENGINE, "P2: slices of two versions of an object are never put together"]),
  broken("P2", "a file is fetched before it is known which directory has its name", [
    "src/cache/directory_identities.ts",
    "    if (this.#bringing > 0 || !this.#isHome(path)) await this.settled();\n",
    "",
  ], [
    "cache/evicted_directories_test.ts",
    "P2: asked for before the search has ended, a file is the one of its directory",
  ]),
  broken("P3", "an eviction notes a directory anew that was renamed unseen", [
    "src/cache/directory_identities.ts",
    "    if (known !== null || this.#isElsewhere(identity)) return false;\n",
    "",
  ], [
    "cache/evicted_directories_test.ts",
    "P3: a file of a directory that was renamed unseen stays until that is taken in",
  ]),
  broken(
    "P3",
    "what a new file takes back of a deletion is not kept for renames that are found later",
    [
      "src/cache/intake.ts",
      "    identities.comes(path);\n",
      "",
    ],
    [
      "cache/evicted_directories_test.ts",
      "P3: a new file where one was deleted, before a rename of its directory is found",
    ],
  ),
  broken(
    "P3",
    "a file that was deleted hides another one that came to its name with its directory",
    [
      "src/cache/remover.ts",
      "    if (isExcluded(path)) return",
      "    if (isExcluded(path) || manifest.isTombstoned(path)) return",
    ],
    [
      "cache/directory_renames_test.ts",
      "an evicted file is deleted by its new name before its directory is carried out",
    ],
  ),
  broken("P3", "a directory that was renamed unseen counts as a new one", [
    "src/cache/directory_identities.ts",
    "            if (this.pathOf(identity) !== null) continue;\n",
    "",
  ], [
    "cache/evicted_directories_test.ts",
    "and replaced unseen while it is noted what every one is",
  ]),
  broken("P3", "a backend that fails has no such object", [
    "src/cache/restorer.ts",
    '        if (error.kind !== "absent") failures.push(error);',
    "",
  ], [ENGINE, "P3: only 'absent' on every backend is 'not found'"]),
  broken("P3", "any 404 of S3 means absent", [
    "src/storage/s3/s3_errors.ts",
    '  if (code === "NoSuchKey") return "absent";',
    '  if (code === "NoSuchKey" || status === 404) return "absent";',
  ], ["storage/s3/s3_faults_test.ts", "s3: a 404 that is not S3's own never means absent"]),
  broken("P3", "an archive that is not mounted has no files", [
    "shim/helper/nfs_object.c",
    "return p4nfs_check_root(root, dir) ? -ESTALE : -ENOENT;",
    "return p4nfs_check_root(root, dir) > 1 ? -ESTALE : -ENOENT;",
  ], ["storage/nfs_test.ts", "nfs: a missing archive directory never makes a file absent"]),
  broken("P3", "what the watcher has in hand counts as known", [
    WATCH_C,
    "return !__atomic_load_n(&watch->has_some, __ATOMIC_SEQ_CST);",
    "return 1;",
  ], [WATCH, "it is quiet only when what happened was told, and dealt with"]),
  broken("P3", "events on their way do not count for an absent file", [
    "src/cache/restorer.ts",
    "        await upToDate;\n        await this.#parts.whereabouts(path);\n        const",
    "        await this.#parts.whereabouts(path);\n        const",
  ], [BARRIER, "P3: a file that is made while the storage says that it has none is found"]),
  broken("P3", "a failure of the daemon is ENOENT", [
    RECOVER_C,
    "    int found = try_again(tries) ? find(dirfd, path, 1) : FAILED;\n    errno = found == FAILED ? EIO : ENOENT;",
    "    int found = try_again(tries) ? find(dirfd, path, 1) : FAILED;\n    errno = ENOENT;",
  ], [SHIM, "P3: a backend that is gone gives EIO, never ENOENT"]),
  broken("P3", "the absence of a file outlives the daemon that told it", [
    NEGATIVE_C,
    "static uint64_t of_this_daemon(uint64_t key) { return key ^ __atomic_load_n(&daemon_is, __ATOMIC_RELAXED); }",
    "static uint64_t of_this_daemon(uint64_t key) { return key; }",
  ], [SHIM_EDGES, "absence is forgotten when the daemon is another"]),
  broken("P3", "a listing that broke off looks complete", [
    "src/server/shim_server.ts",
    "    return yield errorLine(describeError(error));\n  }\n  yield piece",
    "    void error;\n  }\n  yield piece",
  ], ["server/shim_server_test.ts", "deletes, listings and counts of drops are answered"]),
  broken("P3", "a deleted file comes back from the bucket", [
    "src/manifest/manifest.ts",
    "    return this.#tombstones.get(path) !== null;",
    "    return this.#tombstones.get(path) === undefined;",
  ], ["cache/remover_test.ts", "an evicted file that is deleted stays deleted"]),
  broken("P4", "without a daemon the library fails at once", [
    "shim/preload/client.c",
    "        if (answered < 0 || !waits || !p4_pause(attempt, deadline_ns)) return P4_FAILED;",
    "        if (answered < 0 || !waits || attempt > 0 || deadline_ns < 0) return P4_FAILED;",
  ], [SHIM, "P3: without the daemon a missing file is EIO, and found when the daemon is back"]),
  broken("P4", "a socket that a dead daemon left is in the way", [
    "src/server/shim_server.ts",
    "    if (error instanceof Deno.errors.ConnectionRefused) return removeSocket(path);",
    "",
  ], ["server/shim_server_test.ts", "a dead daemon's socket is taken over, a live one's is not"]),
  broken("P5", "parts are let in without counting their bytes", [
    "src/storage/part_budget.ts",
    "      if (this.#free < share) return;",
    "",
  ], ["storage/part_budget_test.ts", "P5: room is given in the order it was asked for"]),
  broken("P5", "clients are let in without number", [
    "src/server/shim_server.ts",
    "      if (this.#clients.size >= this.#limits.connections) {",
    "      if (this.#clients.size < 0) {",
  ], ["server/shim_server_test.ts", "P5: of more clients than there may be"]),
  broken("P6", "a name may lead out of the depot", [
    "src/depot_path.ts",
    '    if (name === "." || name === "..") return "path with a . or .. component";',
    "",
  ], [ENGINE, "P6: names that lead out of the depot or into the state are refused"]),
  broken("P6", "a name may lead into the state directory", [
    "src/depot_path.ts",
    '  if (path === STATE_DIR || path.startsWith(STATE_DIR + "/")) return "path in the state directory";',
    "",
  ], [ENGINE, "P6: names that lead out of the depot or into the state are refused"]),
  broken("P6", "symbolic links in the archive are followed", [
    "shim/helper/files.c",
    "                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};",
    "                           .resolve = 0};",
  ], ["storage/nfs_test.ts", "nfs: symbolic links lead nowhere"]),
  broken(
    "P6",
    "a web page elsewhere may read what the daemon tells",
    [
      "src/server/http_server.ts",
      '      isOpen || LOCAL_HOST.test(request.headers.get("host") ?? "")',
      '      isOpen || request.headers.get("host") !== ""',
    ],
    ["e2e/http_test.ts", "a web page elsewhere that makes its name lead here gets nothing"],
    "binary",
  ),
  broken("P6", "a header's value may hold another header", [
    "src/storage/http_connections.ts",
    "    if (NOT_ALLOWED.test(value)) {",
    "    if (value === name) {",
  ], ["storage/http_connections_test.ts", "no header can smuggle another one in"]),
  broken("P6", "peers are answered without their token", [
    "src/server/peer_server.ts",
    "      if (!this.#isAllowed(request)) {",
    "      if (this.#isAllowed(request) === null) {",
  ], ["storage/peer_test.ts", "without the token nothing is told, not even what there is"]),
  broken("P7", "a row's numbers are in the other byte order", [
    "src/manifest/schema.ts",
    "  writeU64(view, 0, row.size);",
    "  view.setBigUint64(0, BigInt(row.size));",
  ], ["manifest/schema_test.ts", "a row has the C++ implementation's bytes"]),
  broken("P7", "a name with a space becomes another key", [
    "src/storage/object_keys.ts",
    "  return under + (isPlainKey(path) ? path : ESCAPED_DIR + escapePath(path));",
    "  return under + (/^[\\w./,-]*$/.test(path) ? path : ESCAPED_DIR + escapePath(path));",
  ], ["storage/s3/s3_signer_test.ts", "s3: each path has one key, and each key leads back to it"]),
  broken("contract", "the access log is not flushed by time", [
    "src/access/access_log.ts",
    "      this.#flushTimer ??= setTimeout(() => void this.flush(), flushMs * FLUSH_SHARE);",
    "",
  ], ["access/access_log_test.ts", "one access is written by itself after the flush interval"]),
  broken("contract", "what a process noted is lost at its end", [
    "shim/preload/access_log.c",
    "__attribute__((destructor)) static void at_exit(void) { p4_flush_accesses(); }",
    "",
  ], [SHIM, "what a process opens is counted as an access, to its last file"]),
  broken("contract", "eviction goes on only to the watermark", [
    "src/cache/evictor.ts",
    "const TARGET_SHARE = 0.9;",
    "const TARGET_SHARE = 1;",
  ], [
    "cache/evict_policy_test.ts",
    "eviction begins above the low watermark, and stops at 90 % of it",
  ]),
  broken("contract", "a request without its last newline gets no answer", [
    "src/server/shim_server.ts",
    "        if (filled > 0) await this.#answer(client, buffer.subarray(0, filled));\n",
    "",
  ], ["server/shim_server_test.ts", "a request is answered with and without its last newline"]),
  broken("contract", "an unknown key of the file is passed over", [
    "src/config/validation.ts",
    "    throw unknownKey(path, file);\n",
    "    return document as CheckedDocument;\n",
  ], ["config/bad_input_test.ts", "one line refuses"]),
  broken("contract", "an access has its seconds in the other byte order", [
    "src/access/access_log.ts",
    "setBigUint64(0, BigInt(seconds), true);",
    "setBigUint64(0, BigInt(seconds));",
  ], [
    "access/access_log_test.ts",
    "an access is the path's bytes and the seconds, 8 bytes little endian",
  ]),
  broken("contract", "what was sent to the daemon before its end is no access", [
    "src/server/access_receiver.ts",
    "    await Promise.race([this.#sendLast().then(() => this.#receiving, () => {}), late]);\n",
    "    void late;\n",
  ], [
    "server/access_receiver_test.ts",
    "what was sent before the end is told, however much waits to be read",
  ]),
  broken("contract", "the stats line says megabytes", [
    "src/observe/stats_line.ts",
    "const GIB = 1024 ** 3;",
    "const GIB = 1000 ** 3;",
  ], ["observe/stats_line_test.ts", "the stats line is the contract's, to the letter"]),
  broken("contract", "a metric of the contract has another name", [
    "src/observe/metrics.ts",
    '    results("uploads_total", ',
    '    results("stored_total", ',
  ], ["observe/metrics_test.ts", "every metric of the contract is there from the start"]),
  broken("contract", "the file wins over the command line", [
    "src/config/load.ts",
    "  for (const level of [fromFlag, fromDocument, fromEnv]) {",
    "  for (const level of [fromDocument, fromFlag, fromEnv]) {",
  ], ["config/load_test.ts", "flags win over the file"]),
  broken("storage", "a wait that the provider asked for is not kept", [
    "src/storage/retrying.ts",
    "      await this.#keepQuiet(signal);",
    "",
  ], [
    "storage/retrying_test.ts",
    "retrying: what the provider asked of one operation holds for all",
  ]),
  broken("storage", "an unreachable backend is asked again and again", [
    "src/storage/retrying.ts",
    "      breaker: new ConsecutiveBreaker(options.failuresToOpen),",
    "      breaker: new ConsecutiveBreaker(options.failuresToOpen + 1),",
  ], ["storage/retrying_test.ts", "retrying: the circuit opens for all, and one probe closes it"]),
  broken("storage", "restores wait behind uploads", [
    "src/storage/limited.ts",
    '    const isWaitedFor = operation === "get" || operation === "head" || operation === "revalidate";',
    "    const isWaitedFor = operation === null;",
  ], [
    "storage/limited_test.ts",
    "limited: a restore that waits is let through before the uploads",
  ]),
  broken("storage", "more passes than the bandwidth allows", [
    "src/storage/rate_gate.ts",
    "    if (this.#rate() !== Infinity) this.#left -= units;",
    "    if (this.#rate() === Infinity) this.#left -= units;",
  ], ["storage/rate_gate_test.ts", "a second hold on average when"]),
  broken("storage", "a part that failed is not sent again", [
    "src/storage/s3/s3_multipart.ts",
    '  const answer = await persist(requests, {\n    method: "PUT",',
    '  const answer = await requests.send({\n    method: "PUT",',
  ], ["storage/s3/s3_faults_test.ts", "s3: a part that fails once is sent again, alone"]),
  broken("storage", "parts of a refused upload stay in the bucket", [
    "src/storage/s3/s3_multipart.ts",
    "    const left = await abort(upload, uploadId);\n",
    "    const left = null as StorageError | null;\n",
  ], [
    "storage/s3/s3_faults_test.ts",
    "s3: a part that is refused ends the upload, and its parts are removed",
  ]),
  broken("hosts", "what p4d writes on a replica during a look is replaced", [
    "src/cluster/revalidator.ts",
    "      if (!isFile(files.stat(temp), version)) {",
    "      if (files.stat(temp) === null) {",
  ], ["cluster/revalidator_test.ts", "what p4d writes in the moment of the replacement goes back"]),
  broken("hosts", "a gap in the feed goes unnoticed", [
    "src/cluster/feed_follower.ts",
    '    if (first > at.last + 1) return this.#gap(last, "older records were removed");',
    "    if (first > at.last + 1) at.last = first - 1;",
  ], [
    "cluster/feed_test.ts",
    "records older than the retention are removed, and missing them is a gap",
  ]),
  broken("hosts", "after a gap in the feed old copies count as current", [
    "src/cluster/freshness.ts",
    "    if (++this.#generation > MAX_GENERATION) {",
    "    if (this.#generation > MAX_GENERATION) {",
  ], [
    "cluster/freshness_test.ts",
    "a feed that is followed keeps fresh what was looked at since its last gap",
  ]),
  broken("hosts", "a lease that another daemon holds is taken", [
    "src/cluster/lease.ts",
    "      if (found !== null && !isFree(found.record, holder) && !takeOver) {",
    "      if (found !== null && found.record.ttl < 0) {",
  ], ["cluster/lease_test.ts", "a second daemon refuses, and says who holds the lease"]),
  broken("hosts", "the clock of a holder that has much to do goes faster than time", [
    "src/cluster/lease_clock.ts",
    "      if (Math.abs(jumpMs) >= LEAST_JUMP_MS) {",
    "      if (jumpMs !== 0) {",
  ], [
    "cluster/lease_clock_test.ts",
    "P1: the holder's clock goes as fast as time, however often it is asked",
  ]),
  broken("hosts", "a migration replaces what is newer", [
    "src/admin/migration.ts",
    "    etag = (await primary.put(path, content, signal, { ifAbsent: true })).etag;",
    "    etag = (await primary.put(path, content, signal)).etag;",
  ], ["admin/migration_test.ts", "1: an object that came after the listing is not replaced"]),
  broken("hosts", "a backup that was begun counts as one", [
    "src/backup/backup_set.ts",
    "    if (file === INFO_FILE) whole.push(name);",
    "    if (!whole.includes(name)) whole.push(name);",
  ], ["backup/backup_set_test.ts", "a backup that was not removed whole is no backup"]),
  broken("hosts", "a backup's file is taken as it is", [
    "src/backup/read_backup.ts",
    '  if (at === described.sizeBytes && hash.digest("hex") === described.sha256) return;',
    "  if (at === described.sizeBytes) return;",
  ], ["backup/backup_set_test.ts", "a file that is not as it was described is refused"]),
  broken("hosts", "a state that is too new is opened", [
    "src/manifest/migrations.ts",
    "  if (readableFrom > known) {",
    "  if (readableFrom < 0) {",
  ], ["manifest/migrations_test.ts", "a state that is too new is refused in one line"]),
  broken("hosts", "depots together get more than their total", [
    "src/commands/run_shares.ts",
    "    const more = Math.max(0, Math.min(target - held[i]!, free));",
    "    const more = Math.max(0, target - held[i]!);",
  ], ["commands/run_shares_test.ts", "more is given only from what others have given back"]),
  broken("operating", "a name of a file can forge a line of the log", [
    "src/observe/logging.ts",
    '  return text.replaceAll(/\\s*\\n\\s*/g, " ").replaceAll(',
    "  return text.replaceAll(",
  ], ["observe/logging_test.ts", "a message is one literal line, whatever is in it"]),
  broken(
    "operating",
    "a support bundle holds a secret",
    [
      "src/commands/support_bundle.ts",
      "    secrets.reduce((clean, secret) => clean.replaceAll(secret, REDACTED), text),",
      "    secrets.length < 0 ? REDACTED : text,",
    ],
    ["e2e/support_test.ts", "a support bundle has what helps, for its owner only, and no secret"],
    "binary",
  ),
  broken("operating", "a printed configuration shows its secrets", [
    "src/config/print.ts",
    "    if (secret) document[key] = REDACTED;",
    "    if (secret && value === null) document[key] = REDACTED;",
  ], ["config/settings_test.ts", "a printed configuration shows no secret"]),
  broken("operating", "the metrics file can be read half written", [
    "src/observe/metrics_file.ts",
    "  const temporary = `${path}.${Deno.pid}.tmp`;",
    "  const temporary = path;",
  ], [
    "observe/metrics_test.ts",
    "the metrics file is replaced whole, and nothing is left beside it",
  ]),
  broken("operating", "a full disk that LMDB calls EIO is not known as one", [
    "src/manifest/open_manifest.ts",
    "[ENOSPC, EDQUOT, EIO].includes",
    "[ENOSPC, EDQUOT].includes",
  ], ["cache/degraded_test.ts", "what was given up for the manifest is for no restore"]),
  broken("operating", "a restore takes the room that was given up for the manifest", [
    "src/cache/restorer.ts",
    '      if (this.#parts.isRoomTaken()) throw new FileError(ENOSPC, "place", displayPath(path));\n',
    "",
  ], ["cache/degraded_test.ts", "what was given up for the manifest is for no restore"]),
  broken("operating", "nothing is set aside for the manifest on a full disk", [
    "src/cache/reserve.ts",
    "this.#end = keepRoom(pathFromText(this.#path), this.#bytes) + this.#bytes;",
    "this.#end = 2 ** 50;",
  ], ["disk/full_disk_test.ts", "the manifest goes on from its reserve when the disk is full"]),
  broken("operating", "a restore waits for a manifest that cannot be written", [
    "src/cache/evictor.ts",
    "if (!await manifest.commitWithin(COMMIT_MS)) throw new Error(UNWRITABLE);",
    "await manifest.commit();",
  ], ["disk/full_disk_test.ts", "where the manifest has no room at all, a restore is answered"]),
  broken("operating", "a pinned file is evicted", [
    "src/cache/evictor.ts",
    '    if (pins.isPinned(path)) return "pinned";',
    "",
  ], [
    "cache/pins_test.ts",
    "pinned files and those below a pinned directory are not evicted, others are",
  ]),
  broken(
    "operating",
    "what a load left is not collected when it is over",
    [
      "src/commands/daemon.ts",
      "  collectGarbage();\n",
      "",
    ],
    ["e2e/memory_test.ts", "memory that a load took is given back seconds after it"],
    "binary",
  ),
  broken("operating", "another place of the storage is used without a restart", [
    "src/config/live.ts",
    "    if (changed.some((field) => PLACE_FIELDS.has(field))) {",
    "    if (changed.length < 0) {",
  ], ["config/live_test.ts", "other credentials open the backend anew; another place waits"]),
  broken("operating", "an installer takes files that were tampered with", [
    "install.sh",
    '[ "$(sum_of "$1")" = "$(promised_sum "$2")" ]; }',
    'sum_of "$1" >/dev/null; }',
  ], ["install/install_test.ts", "a file that is not what SHA256SUMS promises is refused"]),
  broken("operating", "a library that others may change is loaded", [
    "src/commands/shim_place.ts",
    "  if (isDirectory && uid === Deno.uid() && ((mode ?? 0) & OTHERS_WRITE) === 0) return;",
    "  if (isDirectory && uid === Deno.uid() && mode !== OTHERS_WRITE) return;",
  ], ["commands/exec_test.ts", "a library is never put where others could change it"]),
];
