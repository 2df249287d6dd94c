/**
 * Objects as plain files below a directory, local or mounted.
 *
 * The stored file has the bytes, the mtime (ns) and the permission bits of the depot file; its
 * digest is in the extended attribute `user.p4cache.digest` where the file system has such
 * attributes (NFS: Linux 5.9 and RFC 8276 on both ends), else it is unknown to later readers.
 *
 * @module
 */

import { FileError } from "../../../ffi/file_error.ts";
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
import { ArchiveRoot } from "./archive_root.ts";
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
  readonly #files: ObjectFiles;
  readonly #root: ArchiveRoot;
  #lastTemp = 0;
  readonly #tempStem = `${Deno.pid}-${crypto.randomUUID()}`;
  readonly #staleMs: number;
  #swept: Promise<void> | null = null;

  private constructor(
    label: string,
    files: ObjectFiles,
    root: ArchiveRoot,
    staleMs: number,
  ) {
    this.label = label;
    this.#files = files;
    this.#root = root;
    this.#staleMs = staleMs;
  }

  /**
   * Opens the archive directory.
   * @param path Absolute; must exist.
   * @param staleMs Unfinished objects of so long ago are removed with the first put.
   * @throws StorageError
   */
  static async open(path: string, staleMs = STALE_MS): Promise<NfsBackend> {
    const label = `nfs:${path}`, dir = pathFromBytes(new TextEncoder().encode(path));
    const files = new ObjectFiles();
    try {
      const root = await ArchiveRoot.open(files, dir, label);
      return new NfsBackend(label, files, root, staleMs);
    } catch (error) {
      files.close();
      const why = error instanceof FileError ? error.message : String(error);
      throw new StorageError("denied", `${why}; it must be an existing directory`, {
        cause: error,
      });
    }
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
      const stored = await this.#root.runStoring(
        path,
        () => this.#files.putSmall(this.#root.fd, temp, path, exclusive, bytes, attributes),
      );
      return { etag: this.#checked(path, content, stored) };
    }
    const stored = await this.#writing(path, temp, async (fd) => {
      const slices = Math.ceil(content.size / SLICE_BYTES);
      const width = content.body === undefined ? 1 : SLICES_AT_ONCE;
      const store = (slice: number) => this.#storeSlice(path, fd, content, slice, doing);
      await sideBySide(slices, width, doing, signal, store);
      await this.#assertMatches(path, condition?.ifMatch, doing, signal);
      return await this.#root.runStoring(
        path,
        () => this.#files.publish(this.#root.fd, fd, temp, path, exclusive, attributes),
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
        file = await this.#root.run(
          from,
          () => this.#files.copyRange(this.#root.fd, from, fd, offset, COPY_BYTES),
        );
        if (etagOf(file) !== before.etag) throw this.#changed(from);
        offset += COPY_BYTES;
      } while (offset < file.size);
      const attributes = { mtimeNs: file.mtimeNs, mode: file.mode & 0o7777, digest: file.digest };
      return await this.#root.runStoring(
        to,
        () => this.#files.publish(this.#root.fd, fd, temp, to, false, attributes),
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
      const { file, bytes } = await this.#root.run(
        path,
        () => this.#files.read(this.#root.fd, path, offset, rest),
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
    return await this.#root.run(path, async () => {
      const { file, fd } = await this.#files.open(this.#root.fd, path);
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
    const file = await this.#root.run(
      path,
      () => this.#files.stat(this.#root.fd, this.#root.dir, path),
    );
    if (file === null) throw new StorageError("absent", `Cannot ${doing}: it is not there`);
    return infoOf(file);
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    this.#check(path, `remove ${displayPath(path)} in ${this.label}`, signal);
    await nullIfAbsent(this.#root.run(path, () => this.#files.remove(this.#root.fd, path)));
  }

  /** Holds the entries of the directories on the way down to the current one, no more. */
  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    yield* this.#walk("", prefix, after, signal);
  }

  async close(): Promise<void> {
    await this.#swept;
    await this.#root.close();
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
      return await this.#root.run(dir, () => this.#files.list(this.#root.fd, dir));
    } catch (error) {
      // Removed since its name was read.
      if (dir !== "" && error instanceof StorageError && error.kind === "absent") return [];
      throw error;
    }
  }

  #nextTemp(): string {
    // Not before: a secondary is only read.
    this.#swept ??= sweepUnfinished(this.#files, this.#root.fd, this.#staleMs);
    return `${this.#tempStem}-${++this.#lastTemp}`;
  }

  /** Runs `write` on a new temporary file, which is gone after it unless it was published. */
  async #writing(
    path: DepotPath,
    temp: string,
    write: (fd: number) => Promise<StoredFile>,
  ): Promise<StoredFile> {
    const fd = await this.#root.runStoring(path, () => this.#files.create(this.#root.fd, temp));
    let published = false;
    try {
      const stored = await write(fd);
      published = true;
      return stored;
    } finally {
      await this.#files.closeFile(fd);
      // Best effort: the error that brought us here is the one to report.
      if (!published) await this.#files.discard(this.#root.fd, temp).catch(() => {});
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
      return await this.#root.runStoring(path, () => this.#files.write(fd, path, bytes, offset));
    }
    const digest = await this.#root.runStoring(path, async () => {
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
