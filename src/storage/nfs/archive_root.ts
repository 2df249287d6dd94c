/**
 * The open directory of an archive, and what makes sure that it is still the one at its path.
 *
 * A file is only called absent when it is (promise P3): an archive that was unmounted, or mounted over later,
 * must not look empty.
 *
 * @module
 */

import { ENOENT, ESTALE } from "../../../ffi/errno.ts";
import { FileError } from "../../../ffi/file_error.ts";
import { type ObjectFiles, TEMP_DIR } from "../../../ffi/nfs_object.ts";
import { displayPath } from "../../depot_path.ts";
import { StorageError } from "../backend.ts";
import { storageError } from "./nfs_errors.ts";

/** See the module. */
export class ArchiveRoot {
  /** Its path, one character per byte. */
  readonly dir: string;
  readonly #files: ObjectFiles;
  readonly #label: string;
  #fd: number;
  readonly #retired: number[] = [];

  private constructor(files: ObjectFiles, dir: string, label: string, fd: number) {
    this.#files = files;
    this.dir = dir;
    this.#label = label;
    this.#fd = fd;
  }

  /**
   * @param dir One character per byte; must exist.
   * @param label Of the storage, for errors.
   * @throws FileError
   */
  static async open(files: ObjectFiles, dir: string, label: string): Promise<ArchiveRoot> {
    return new ArchiveRoot(files, dir, label, await files.openRoot(dir));
  }

  /** The directory's descriptor, as it is now: another one after it was opened anew. */
  get fd(): number {
    return this.#fd;
  }

  async close(): Promise<void> {
    for (const root of [this.#fd, ...this.#retired]) await this.#files.closeFile(root);
  }

  /**
   * Makes one call; turns its errno into a kind. Absent only after the root is proven.
   * @throws StorageError, and what else the call throws.
   */
  async run<T>(path: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (error.errno !== ENOENT && error.errno !== ESTALE) throw this.#failure(path, error);
      const reopened = await this.#prove();
      if (!reopened) throw this.#failure(path, error);
    }
    try {
      return await call();
    } catch (error) {
      throw error instanceof FileError ? this.#failure(path, error) : error;
    }
  }

  /** {@link run} for storing, where nothing is absent: a name may be taken, or a race was lost. */
  async runStoring<T>(path: string, call: () => Promise<T>): Promise<T> {
    try {
      return await this.run(path, call);
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== "absent") throw error;
      const raced = error.cause instanceof FileError && error.cause.errno === ENOENT;
      throw new StorageError(raced ? "transient" : "permanent", error.message, {
        cause: error.cause,
      });
    }
  }

  #failure(path: string, error: FileError): StorageError {
    return storageError(error, `reach ${displayPath(path)} in ${this.#label}`);
  }

  /**
   * Makes sure that the archive directory is the one at its path.
   * @returns Whether another one, which also holds objects, was opened in its place.
   * @throws StorageError when the archive is not there.
   */
  async #prove(): Promise<boolean> {
    try {
      if (await this.#files.isSameRoot(this.#fd, this.dir)) return false;
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
    this.#retired.push(this.#fd);
    this.#fd = root;
    return true;
  }

  async #reopen(): Promise<number> {
    let root: number;
    try {
      root = await this.#files.openRoot(this.dir);
    } catch (error) {
      throw new StorageError("transient", `${error}; mount or create it again`, { cause: error });
    }
    if (await this.#files.hasMarker(root)) return root;
    await this.#files.closeFile(root);
    throw new StorageError(
      "denied",
      `Cannot use ${this.#label}: it is not the directory that was opened at start, and holds no ` +
        `${TEMP_DIR}; mount the archive again, or restart to use the directory that is there now`,
    );
  }
}
