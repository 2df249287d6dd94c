/**
 * Objects as plain files below a directory, local or mounted.
 *
 * The stored file has the bytes, the mtime (ns) and the permission bits of the depot file; its
 * digest is in the extended attribute `user.p4cache.digest` where the file system has such
 * attributes (NFS: Linux 5.9 and RFC 8276 on both ends), else it is unknown to later readers.
 *
 * A file is only called absent when the directory that was opened is still the one at the configured
 * path (promise P3): an archive that was unmounted, or mounted over later, must not look empty.
 *
 * @module
 */

import { FileError } from "../../../ffi/file_error.ts";
import { ENOENT, ESTALE } from "../../../ffi/errno.ts";
import {
  ObjectFiles,
  type StoredEntry,
  type StoredFile,
  TEMP_DIR,
} from "../../../ffi/nfs_object.ts";
import { type DepotPath, displayPath, pathFromBytes, pathProblem } from "../../depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  nullIfAbsent,
  type ObjectInfo,
  type ObjectPart,
  type PutCondition,
  type RangeOptions,
  SLICE_BYTES,
  StorageError,
} from "../backend.ts";
import { hex } from "../content_digest.ts";
import { CopyFailed, type FileSink, OtherVersion } from "../file_transfer.ts";
import { readContent, stopped, unreadable } from "../operation.ts";
import { sideBySide } from "../side_by_side.ts";
import { storageError } from "./nfs_errors.ts";
import { STALE_MS, sweepUnfinished } from "./sweep.ts";

/** Objects up to this size are stored with one call off the event loop. */
const SMALL_BYTES = 1024 * 1024;

/** Slices of one object that are stored at once, where they do not come to memory. */
const SLICES_AT_ONCE = 4;

/** Bytes that one call copies within the archive; it cannot be stopped meanwhile. */
const COPY_BYTES = 64 * 1024 * 1024;

/** See the module. */
export class NfsBackend implements Backend {
  readonly label: string;
  readonly #files = new ObjectFiles();
  readonly #dir: string;
  #root = -1;
  readonly #retired: number[] = [];
  #lastTemp = 0;
  readonly #tempStem = `${Deno.pid}-${crypto.randomUUID()}`;
  readonly #staleMs: number;
  #swept: Promise<void> | null = null;

  private constructor(path: string, staleMs: number) {
    this.#staleMs = staleMs;
    this.label = `nfs:${path}`;
    this.#dir = pathFromBytes(new TextEncoder().encode(path));
  }

  /**
   * Opens the archive directory.
   * @param path Absolute; must exist.
   * @param staleMs Unfinished objects of so long ago are removed with the first put.
   * @throws StorageError
   */
  static async open(path: string, staleMs = STALE_MS): Promise<NfsBackend> {
    const backend = new NfsBackend(path, staleMs);
    try {
      backend.#root = await backend.#files.openRoot(backend.#dir);
    } catch (error) {
      backend.#files.close();
      const why = error instanceof FileError ? error.message : String(error);
      throw new StorageError("denied", `${why}; it must be an existing directory`, {
        cause: error,
      });
    }
    return backend;
  }

  /**
   * `ifAbsent` is kept by link(2), in one step. For `ifMatch` a file system has no such step: the file
   * is looked at before and after its successor is written, and a writer between the second look
   * and the rename is replaced.
   */
  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const doing = `store ${displayPath(path)} in ${this.label}`;
    this.#check(path, doing, signal);
    const exclusive = condition?.ifAbsent === true;
    await this.#assertMatches(path, condition?.ifMatch, doing, signal);
    const temp = this.#nextTemp();
    const attributes = { mtimeNs: content.mtimeNs, mode: content.mode, digest: content.digest };
    if (content.size <= SMALL_BYTES) {
      const bytes = await readContent(content, 0, content.size, doing);
      const stored = await this.#runStoring(
        path,
        () => this.#files.putSmall(this.#root, temp, path, exclusive, bytes, attributes),
      );
      return { etag: this.#checked(path, content, stored) };
    }
    const stored = await this.#writing(path, temp, async (fd) => {
      const slices = Math.ceil(content.size / SLICE_BYTES);
      const width = content.body === undefined ? 1 : SLICES_AT_ONCE;
      await sideBySide(
        slices,
        width,
        doing,
        signal,
        (slice) => this.#storeSlice(path, fd, content, slice, doing),
      );
      await this.#assertMatches(path, condition?.ifMatch, doing, signal);
      return await this.#runStoring(
        path,
        () => this.#files.publish(this.#root, fd, temp, path, exclusive, attributes),
      );
    });
    return { etag: this.#checked(path, content, stored) };
  }

  async copy(from: DepotPath, to: DepotPath, signal: AbortSignal): Promise<{ etag: string }> {
    const doing = `copy ${displayPath(from)} to ${displayPath(to)} in ${this.label}`;
    this.#check(to, doing, signal);
    const before = await this.head(from, signal);
    const temp = this.#nextTemp();
    const stored = await this.#writing(to, temp, async (fd) => {
      let file: StoredFile, offset = 0;
      do {
        if (signal.aborted) throw stopped(doing, signal);
        file = await this.#run(
          from,
          () => this.#files.copyRange(this.#root, from, fd, offset, COPY_BYTES),
        );
        if (etagOf(file) !== before.etag) throw this.#changed(from);
        offset += COPY_BYTES;
      } while (offset < file.size);
      const attributes = { mtimeNs: file.mtimeNs, mode: file.mode & 0o7777, digest: file.digest };
      return await this.#runStoring(
        to,
        () => this.#files.publish(this.#root, fd, temp, to, false, attributes),
      );
    });
    if (stored.size !== before.size) throw this.#changed(from);
    return { etag: etagOf(stored) };
  }

  async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<{ info: ObjectInfo; bytes: Uint8Array<ArrayBuffer> } | null> {
    const info = await this.head(path, signal);
    if (info.etag === etag) return null;
    return await this.getRange(path, 0, length, { ifMatch: info.etag, signal });
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    { ifMatch, into, signal }: RangeOptions,
  ): Promise<ObjectPart> {
    const assertWanted = (found: ObjectInfo) => {
      if (ifMatch !== undefined && ifMatch !== found.etag) throw this.#changed(path);
    };
    if (into !== undefined) {
      this.#check(path, `read ${displayPath(path)} in ${this.label}`, signal);
      const part = await this.#copyRange(path, offset, length, into, assertWanted);
      if (part !== null) return part;
    }
    for (let info = await this.head(path, signal);;) {
      assertWanted(info);
      const rest = Math.max(0, Math.min(length, info.size - offset));
      if (rest === 0) return { info, bytes: new Uint8Array(0) };
      this.#check(path, `read ${displayPath(path)} in ${this.label}`, signal);
      const { file, bytes } = await this.#run(
        path,
        () => this.#files.read(this.#root, path, offset, rest),
      );
      const etag = info.etag;
      info = infoOf(file);
      assertWanted(info);
      if (bytes.length === Math.max(0, Math.min(length, info.size - offset))) {
        return { info, bytes };
      }
      // Cut short while it was read; or a larger version came since the look, which is read then.
      if (etag === info.etag) throw this.#changed(path);
    }
  }

  /** The whole range into the file; null where the object ends before. */
  async #copyRange(
    path: DepotPath,
    offset: number,
    length: number,
    into: FileSink,
    assertWanted: (found: ObjectInfo) => void,
  ): Promise<ObjectPart | null> {
    return await this.#run(path, async () => {
      const { file, fd } = await this.#files.open(this.#root, path);
      try {
        const info = infoOf(file);
        assertWanted(info);
        if (offset + length > info.size) return null;
        const written = await into.copy({ fd, size: file.size, mtimeNs: file.mtimeNs });
        return { info, bytes: new Uint8Array(0), written };
      } catch (error) {
        if (!(error instanceof CopyFailed)) throw error;
        if (error.end === "from") {
          throw error.cause instanceof OtherVersion ? this.#changed(path) : error.cause;
        }
        const message = `Cannot keep what ${this.label} gave: ${error.cause}`;
        throw new StorageError("permanent", message, { cause: error.cause });
      } finally {
        await this.#files.closeFile(fd);
      }
    });
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    const doing = `read ${displayPath(path)} in ${this.label}`;
    this.#check(path, doing, signal);
    // One call says both, that it is absent and that the archive is there: a miss waits for it.
    const file = await this.#run(path, () => this.#files.stat(this.#root, this.#dir, path));
    if (file === null) throw new StorageError("absent", `Cannot ${doing}: it is not there`);
    return infoOf(file);
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    this.#check(path, `remove ${displayPath(path)} in ${this.label}`, signal);
    await nullIfAbsent(this.#run(path, () => this.#files.remove(this.#root, path)));
  }

  /** Holds the entries of the directories on the way down to the current one, no more. */
  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    yield* this.#walk("", prefix, after, signal);
  }

  async close(): Promise<void> {
    await this.#swept;
    for (const root of [this.#root, ...this.#retired]) await this.#files.closeFile(root);
    this.#files.close();
  }

  async *#walk(
    dir: string,
    prefix: string,
    after: string,
    signal: AbortSignal,
  ): AsyncIterable<ListedObject> {
    const under = dir === "" ? "" : dir + "/";
    const wanted = (await this.#entries(dir, signal))
      // A directory sorts as its name and the slash that follows in the paths of its files.
      .map((entry) => ({ entry, key: under + entry.name + (entry.isDirectory ? "/" : "") }))
      .filter(({ entry, key }) =>
        entry.isDirectory
          ? (key.startsWith(prefix) || prefix.startsWith(key)) &&
            (key > after || after.startsWith(key)) && key !== TEMP_DIR + "/"
          : key.startsWith(prefix) && key > after
      )
      .sort((a, b) => a.key < b.key ? -1 : 1);
    for (const { entry, key } of wanted) {
      if (entry.isDirectory) yield* this.#walk(key.slice(0, -1), prefix, after, signal);
      else if (pathProblem(key) === null) {
        yield { path: key as DepotPath, size: entry.size, etag: etagOf(entry) };
      }
    }
  }

  async #entries(dir: string, signal: AbortSignal): Promise<StoredEntry[]> {
    if (signal.aborted) throw stopped(`list ${this.label}`, signal);
    try {
      return await this.#run(dir, () => this.#files.list(this.#root, dir));
    } catch (error) {
      // Removed since its name was read.
      if (dir !== "" && error instanceof StorageError && error.kind === "absent") return [];
      throw error;
    }
  }

  #nextTemp(): string {
    // Not before: a secondary is only read.
    this.#swept ??= sweepUnfinished(this.#files, this.#root, this.#staleMs);
    return `${this.#tempStem}-${++this.#lastTemp}`;
  }

  /** Runs `write` on a new temporary file, which is gone after it unless it was published. */
  async #writing(
    path: DepotPath,
    temp: string,
    write: (fd: number) => Promise<StoredFile>,
  ): Promise<StoredFile> {
    const fd = await this.#runStoring(path, () => this.#files.create(this.#root, temp));
    let published = false;
    try {
      const stored = await write(fd);
      published = true;
      return stored;
    } finally {
      await this.#files.closeFile(fd);
      // Best effort: the error that brought us here is the one to report.
      if (!published) await this.#files.discard(this.#root, temp).catch(() => {});
    }
  }

  /** Stores one slice; where it is copied, only the bytes that were hashed for it. */
  async #storeSlice(
    path: DepotPath,
    fd: number,
    content: Content,
    slice: number,
    doing: string,
  ): Promise<void> {
    const offset = slice * SLICE_BYTES;
    const length = Math.min(SLICE_BYTES, content.size - offset);
    const body = await content.body?.(offset, length);
    if (body === undefined) {
      const bytes = await readContent(content, offset, length, doing);
      return await this.#runStoring(path, () => this.#files.write(fd, path, bytes, offset));
    }
    const digest = await this.#runStoring(path, async () => {
      try {
        return await body.copyTo(fd);
      } catch (error) {
        if (!(error instanceof CopyFailed)) throw error;
        throw error.end === "from" ? unreadable(doing, error.cause) : error.cause;
      }
    });
    if (hex(digest) === hex(content.sliceDigests[slice]!)) return;
    throw new StorageError("corrupt", `Cannot ${doing}: its bytes changed after they were hashed`);
  }

  async #assertMatches(
    path: DepotPath,
    etag: string | undefined,
    doing: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (etag === undefined) return;
    if ((await nullIfAbsent(this.head(path, signal)))?.etag === etag) return;
    throw new StorageError("conflict", `Cannot ${doing}: another version is there`);
  }

  #checked(path: DepotPath, content: Content, stored: StoredFile): string {
    if (stored.size === content.size) return etagOf(stored);
    throw new StorageError(
      "corrupt",
      `Cannot store ${
        displayPath(path)
      } in ${this.label}: ${stored.size} bytes arrived of ${content.size}`,
    );
  }

  /** {@link #run} for storing, where nothing is absent: a name may be taken, or a race was lost. */
  async #runStoring<T>(path: string, call: () => Promise<T>): Promise<T> {
    try {
      return await this.#run(path, call);
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== "absent") throw error;
      const raced = error.cause instanceof FileError && error.cause.errno === ENOENT;
      throw new StorageError(raced ? "transient" : "permanent", error.message, {
        cause: error.cause,
      });
    }
  }

  /** Runs one call; turns its errno into a kind. Absent only after the root is proven (P3). */
  async #run<T>(path: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (error.errno !== ENOENT && error.errno !== ESTALE) throw this.#failure(path, error);
      const reopened = await this.#proveRoot();
      if (!reopened) throw this.#failure(path, error);
    }
    try {
      return await call();
    } catch (error) {
      throw error instanceof FileError ? this.#failure(path, error) : error;
    }
  }

  #failure(path: string, error: FileError): StorageError {
    return storageError(error, `reach ${displayPath(path)} in ${this.label}`);
  }

  /**
   * Makes sure that the archive directory is the one at its path.
   * @returns Whether another one, which also holds objects, was opened in its place.
   * @throws StorageError when the archive is not there.
   */
  async #proveRoot(): Promise<boolean> {
    try {
      if (await this.#files.isSameRoot(this.#root, this.#dir)) return false;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      // A stale root may be there again under the same name.
      if (error.errno !== ESTALE) {
        throw new StorageError("transient", `${error.message}; mount or create it again`, {
          cause: error,
        });
      }
    }
    const root = await this.#reopen();
    // Other calls may be using it still.
    this.#retired.push(this.#root);
    this.#root = root;
    return true;
  }

  async #reopen(): Promise<number> {
    let root: number;
    try {
      root = await this.#files.openRoot(this.#dir);
    } catch (error) {
      throw new StorageError("transient", `${error}; mount or create it again`, { cause: error });
    }
    if (await this.#files.hasMarker(root)) return root;
    await this.#files.closeFile(root);
    throw new StorageError(
      "denied",
      `Cannot use ${this.label}: it is not the directory that was opened at start, and holds no ` +
        `${TEMP_DIR}; mount the archive again, or restart to use the directory that is there now`,
    );
  }

  #check(path: DepotPath, doing: string, signal: AbortSignal): void {
    if (signal.aborted) throw stopped(doing, signal);
    if (path === TEMP_DIR || path.startsWith(TEMP_DIR + "/")) {
      throw new StorageError("permanent", `Cannot ${doing}: ${TEMP_DIR} is the backend's own`);
    }
  }

  #changed(path: DepotPath): StorageError {
    return new StorageError(
      "corrupt",
      `Cannot read ${displayPath(path)} in ${this.label}: it changed while it was read`,
    );
  }
}

function infoOf(file: StoredFile): ObjectInfo {
  return {
    size: file.size,
    etag: etagOf(file),
    mtimeNs: file.mtimeNs,
    mode: file.mode & 0o7777,
    digest: file.digest === "" ? null : file.digest,
    storedMs: Number(file.ctimeNs / 1_000_000n),
  };
}

/** Changes whenever the file is replaced, written to or touched. */
function etagOf(file: Pick<StoredFile, "inode" | "size" | "mtimeNs" | "ctimeNs">): string {
  return [file.inode, BigInt(file.size), file.mtimeNs, file.ctimeNs]
    .map((n) => n.toString(16)).join("-");
}
