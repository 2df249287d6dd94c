/**
 * The depot as other daemons may read it: what is here, what is not uploaded yet, and, by way of a restore,
 * what was evicted. A file that p4d is writing is not served before it is whole.
 *
 * @module
 */

import { EINVAL, EISDIR, ELOOP, ENOENT } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import { type FileStat, isRegular } from "../../ffi/file_stat.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { DepotPath } from "../depot_path.ts";
import { isNeverStored } from "../cache/exclusion.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import { isVersion } from "../manifest/transitions.ts";
import type { PeerObject, PeerObjects } from "../server/peer_server.ts";
import type { FetchAnswer } from "../server/shim_server.ts";
import {
  type Backend,
  type ListedObject,
  nullIfAbsent,
  type ObjectInfo,
  StorageError,
} from "../storage/backend.ts";

/** What a peer's listing and descriptions are made of. */
export interface PeerDepotParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  /** Makes sure that the file is here, and current. */
  readonly bring: (path: DepotPath) => Promise<FetchAnswer>;
  /** Where evicted files are. */
  readonly backends: readonly Backend[];
}

/** See the module. */
export class PeerDepot implements PeerObjects {
  readonly #parts: PeerDepotParts;

  constructor(parts: PeerDepotParts) {
    this.#parts = parts;
  }

  async open(path: DepotPath): Promise<PeerObject> {
    const { bring, files } = this.#parts;
    if (isNeverStored(path)) throw absent(path);
    const answer = await bring(path);
    if (answer.kind === "notFound") throw absent(path);
    if (answer.kind === "error") throw new StorageError("transient", answer.why);
    const { fd, stat } = opened(files, path);
    try {
      if (files.isBeingWritten(fd)) {
        throw new StorageError("transient", `Cannot read ${path}: it is being written`);
      }
      return {
        info: this.#info(path, stat),
        read: async (offset, length) => {
          const bytes = await files.read(fd, path, offset, length);
          const now = files.statOpen(fd, path);
          const isSame = now.size === stat.size && now.mtimeNs === stat.mtimeNs;
          if (isSame && bytes.length === length) return bytes;
          throw new StorageError("corrupt", `Cannot read ${path}: it changed`);
        },
        close: () => files.closeFile(fd),
      };
    } catch (error) {
      files.closeFile(fd);
      throw error;
    }
  }

  async head(path: DepotPath): Promise<ObjectInfo> {
    const { files, manifest, backends } = this.#parts;
    if (isNeverStored(path)) throw absent(path);
    const here = files.stat(path);
    if (here !== null && !isRegular(here)) throw absent(path);
    if (here !== null) return this.#info(path, here);
    if (manifest.isTombstoned(path)) throw absent(path);
    for (const backend of backends) {
      const info = await nullIfAbsent(backend.head(path, new AbortController().signal));
      if (info !== null) return info;
    }
    throw absent(path);
  }

  /** What is stored, and what waits for its upload. */
  async *list(prefix: string, after: string): AsyncIterable<ListedObject> {
    const { manifest, backends } = this.#parts;
    const { signal } = new AbortController();
    const from = after > prefix ? after : prefix;
    const sources = [
      this.#dirty(prefix, from),
      ...backends.map((backend) => backend.list(prefix, signal, after)),
    ].map((source) => source[Symbol.asyncIterator]());
    try {
      const heads = await Promise.all(sources.map((source) => source.next()));
      for (;;) {
        let next: ListedObject | null = null;
        for (const { done, value } of heads) {
          if (done !== true && (next === null || value.path < next.path)) next = value;
        }
        if (next === null) return;
        if (!manifest.isTombstoned(next.path)) yield next;
        for (const [i, source] of sources.entries()) {
          const head = heads[i]!;
          if (head.done !== true && head.value.path === next.path) heads[i] = await source.next();
        }
      }
    } finally {
      for (const source of sources) await source.return?.();
    }
  }

  async *#dirty(prefix: string, from: string): AsyncIterable<ListedObject> {
    const { manifest } = this.#parts;
    await manifest.commit(); // pages are read from what is committed
    for (let after = from;;) {
      const page = await manifest.pathsAfter(after);
      for (const path of page) {
        if (!path.startsWith(prefix)) return;
        const row = manifest.get(path)?.row;
        if (row !== undefined && row.state !== CLEAN) yield { path, size: row.size, etag: "" };
      }
      if (page.length === 0) return;
      after = page.at(-1)!;
    }
  }

  /** The tag of a stored version is the storage's own: whoever has it from there has the same. */
  #info(path: DepotPath, { size, mtimeNs, ctimeNs, mode }: FileStat): ObjectInfo {
    const version = this.#parts.manifest.get(path)?.version ?? null;
    const permissions = mode & 0o7777;
    if (version !== null && isVersion(version, size, mtimeNs, mode)) {
      const digest = version.digest === "" ? null : version.digest;
      return { size, etag: version.etag, mtimeNs, mode: permissions, digest };
    }
    const etag = `local-${size}-${mtimeNs}-${ctimeNs}`;
    return { size, etag, mtimeNs, mode: permissions, digest: null };
  }
}

function opened(files: DepotFiles, path: DepotPath): { fd: number; stat: FileStat } {
  try {
    return files.open(path);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    // Evicted once more in this moment.
    if (error.errno === ENOENT) throw new StorageError("transient", error.message);
    if ([EINVAL, ELOOP, EISDIR].includes(error.errno)) throw absent(path);
    throw error;
  }
}

function absent(path: DepotPath): StorageError {
  return new StorageError("absent", `Cannot read ${path}: there is no such file`);
}
