/**
 * Typed binding of `shim/helper/nfs_object.h`: objects kept as plain files below one directory.
 *
 * @module
 */

import { ENOENT } from "./errno.ts";
import { FileError } from "./file_error.ts";
import { type Bytes, cString, holding, openHelper } from "./library.ts";

const SYMBOLS = {
  p4files_open_root: { parameters: ["buffer"], result: "i32", nonblocking: true },
  p4files_close: { parameters: ["i32"], result: "i32", nonblocking: true },
  p4files_pwrite: { parameters: ["i32", "buffer", "u64", "i64"], result: "i32", nonblocking: true },
  p4nfs_check_root: { parameters: ["i32", "buffer"], result: "i32", nonblocking: true },
  p4nfs_has_marker: { parameters: ["i32"], result: "i32", nonblocking: true },
  p4nfs_create: { parameters: ["i32", "buffer"], result: "i32", nonblocking: true },
  p4nfs_publish: {
    parameters: ["i32", "i32", "buffer", "buffer", "i32", "buffer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  p4nfs_put_small: {
    parameters: ["i32", "buffer", "buffer", "i32", "buffer", "u64", "buffer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  p4nfs_copy_range: {
    parameters: ["i32", "buffer", "i32", "u64", "i64", "buffer"],
    result: "i64",
    nonblocking: true,
  },
  p4nfs_discard: { parameters: ["i32", "buffer"], result: "i32", nonblocking: true },
  p4nfs_stat: {
    parameters: ["i32", "buffer", "buffer", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  p4nfs_open: { parameters: ["i32", "buffer", "buffer"], result: "i32", nonblocking: true },
  p4nfs_read: {
    parameters: ["i32", "buffer", "buffer", "u64", "i64", "buffer"],
    result: "i64",
    nonblocking: true,
  },
  p4nfs_remove: { parameters: ["i32", "buffer"], result: "i32", nonblocking: true },
  p4nfs_open_dir: { parameters: ["i32", "buffer"], result: "i32", nonblocking: true },
  p4nfs_list: { parameters: ["i32", "buffer", "u64"], result: "i64", nonblocking: true },
} as const;

/** Directory of unfinished objects below the root; its presence marks a directory of objects. */
export const TEMP_DIR = ".p4cache-tmp";

const DIGEST_CAP = 96;
const INFO_BYTES = 40 + DIGEST_CAP;
const ATTRIBUTES_BYTES = 16 + DIGEST_CAP;
const LIST_BYTES = 64 * 1024;
const RECORD_HEAD_BYTES = 35;

/** What one stored file is. */
export interface StoredFile {
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
  /** Type and permission bits. */
  readonly mode: number;
  /** Empty where the file carries none. */
  readonly digest: string;
}

/** What is stored with a file's bytes. */
export interface StoredAttributes {
  readonly mtimeNs: bigint;
  readonly mode: number;
  readonly digest: string;
}

/** One directory entry: a regular file or a directory. */
export interface StoredEntry {
  readonly name: string;
  readonly isDirectory: boolean;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

function packAttributes({ mtimeNs, mode, digest }: StoredAttributes): Bytes {
  const packed = new Uint8Array(ATTRIBUTES_BYTES);
  const view = new DataView(packed.buffer);
  view.setBigInt64(0, mtimeNs, true);
  view.setUint32(8, mode & 0o7777, true);
  view.setUint32(12, digest.length, true);
  for (let i = 0; i < digest.length; i++) packed[16 + i] = digest.charCodeAt(i);
  return packed;
}

function unpackInfo(packed: Bytes): StoredFile {
  const view = new DataView(packed.buffer);
  const digest = packed.subarray(40, 40 + view.getUint32(36, true));
  return {
    size: Number(view.getBigInt64(0, true)),
    mtimeNs: view.getBigInt64(8, true),
    ctimeNs: view.getBigInt64(16, true),
    inode: view.getBigUint64(24, true),
    mode: view.getUint32(32, true),
    digest: String.fromCharCode(...digest),
  };
}

function unpackEntries(packed: Bytes): StoredEntry[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  const entries: StoredEntry[] = [];
  for (let at = 0; at < packed.length;) {
    const start = at + RECORD_HEAD_BYTES;
    const end = start + view.getUint16(at + 1, true);
    entries.push({
      name: String.fromCharCode(...packed.subarray(start, end)),
      isDirectory: packed[at] === 1,
      size: Number(view.getBigInt64(at + 3, true)),
      mtimeNs: view.getBigInt64(at + 11, true),
      ctimeNs: view.getBigInt64(at + 19, true),
      inode: view.getBigUint64(at + 27, true),
    });
    at = end;
  }
  return entries;
}

/** C wants an address even for no bytes. */
function addressable(bytes: Bytes): Bytes {
  return bytes.length > 0 ? bytes : new Uint8Array(1);
}

/** The objects below one open directory. Paths are relative to it, one character per byte. */
export class ObjectFiles {
  readonly #library = openHelper(SYMBOLS);
  readonly #calls = this.#library.symbols;

  /** Opens the directory `dir`. @throws FileError */
  async openRoot(dir: string): Promise<number> {
    const name = cString(dir);
    const fd = await holding(this.#calls.p4files_open_root(name), name);
    if (fd < 0) throw new FileError(-fd, "open the directory", dir);
    return fd;
  }

  /** Whether `dir` still names the directory that `root` was opened as. @throws FileError */
  async isSameRoot(root: number, dir: string): Promise<boolean> {
    const name = cString(dir);
    const rc = await holding(this.#calls.p4nfs_check_root(root, name), name);
    if (rc < 0) throw new FileError(-rc, "reach the directory", dir);
    return rc === 0;
  }

  /** Whether objects were ever stored below `root`. */
  async hasMarker(root: number): Promise<boolean> {
    return await this.#calls.p4nfs_has_marker(root) === 0;
  }

  /** Creates the temporary file `temp`. @throws FileError */
  async create(root: number, temp: string): Promise<number> {
    const name = cString(temp);
    const fd = await holding(this.#calls.p4nfs_create(root, name), name);
    if (fd < 0) throw new FileError(-fd, "create", `${TEMP_DIR}/${temp}`);
    return fd;
  }

  /** Writes all bytes at the offset. @throws FileError */
  async write(fd: number, path: string, bytes: Bytes, offset: number): Promise<void> {
    const call = this.#calls.p4files_pwrite(
      fd,
      addressable(bytes),
      BigInt(bytes.length),
      BigInt(offset),
    );
    const rc = await holding(call, bytes);
    if (rc < 0) throw new FileError(-rc, "write", path);
  }

  /**
   * Gives the temporary file its attributes and its place, durably.
   * @param exclusive Only where nothing is there.
   * @throws FileError EEXIST when `exclusive` and the path is taken.
   */
  async publish(
    root: number,
    fd: number,
    temp: string,
    path: string,
    exclusive: boolean,
    attributes: StoredAttributes,
  ): Promise<StoredFile> {
    const tempName = cString(temp), name = cString(path), packed = packAttributes(attributes);
    const out = new Uint8Array(INFO_BYTES);
    const call = this.#calls.p4nfs_publish(
      root,
      fd,
      tempName,
      name,
      Number(exclusive),
      packed,
      out,
    );
    const rc = await holding(call, tempName, name, packed, out);
    if (rc < 0) throw new FileError(-rc, "store", path);
    return unpackInfo(out);
  }

  /** Stores an object whose bytes are at hand. @throws FileError as {@link publish} */
  async putSmall(
    root: number,
    temp: string,
    path: string,
    exclusive: boolean,
    bytes: Bytes,
    attributes: StoredAttributes,
  ): Promise<StoredFile> {
    const tempName = cString(temp), name = cString(path), packed = packAttributes(attributes);
    const data = addressable(bytes), out = new Uint8Array(INFO_BYTES);
    const call = this.#calls.p4nfs_put_small(
      root,
      tempName,
      name,
      Number(exclusive),
      data,
      BigInt(bytes.length),
      packed,
      out,
    );
    const rc = await holding(call, tempName, name, packed, data, out);
    if (rc < 0) throw new FileError(-rc, "store", path);
    return unpackInfo(out);
  }

  /** Removes a temporary file. @throws FileError */
  async discard(root: number, temp: string): Promise<void> {
    const name = cString(temp);
    const rc = await holding(this.#calls.p4nfs_discard(root, name), name);
    if (rc < 0) throw new FileError(-rc, "remove", `${TEMP_DIR}/${temp}`);
  }

  /**
   * Describes the regular file at the path; null when there is none, and `dir` still names `root`.
   * @param dir The path of the directory `root`.
   * @throws FileError ESTALE when there is none, and `dir` does not.
   */
  async stat(root: number, dir: string, path: string): Promise<StoredFile | null> {
    const dirName = cString(dir), name = cString(path), out = new Uint8Array(INFO_BYTES);
    const call = this.#calls.p4nfs_stat(root, dirName, name, out);
    const rc = await holding(call, dirName, name, out);
    if (rc === -ENOENT) return null;
    if (rc < 0) throw new FileError(-rc, "stat", path);
    return unpackInfo(out);
  }

  /**
   * Reads up to `length` bytes at `offset`, fewer only at the end of the file.
   * @throws FileError EAGAIN when the file changed during the read.
   */
  async read(
    root: number,
    path: string,
    offset: number,
    length: number,
  ): Promise<{ file: StoredFile; bytes: Bytes }> {
    const name = cString(path), out = new Uint8Array(INFO_BYTES);
    const data = addressable(new Uint8Array(length));
    const call = this.#calls.p4nfs_read(root, name, data, BigInt(length), BigInt(offset), out);
    const n = Number(await holding(call, name, data, out));
    if (n < 0) throw new FileError(-n, "read", path);
    return { file: unpackInfo(out), bytes: data.subarray(0, n) };
  }

  /** Opens the file at the path. @throws FileError */
  async open(root: number, path: string): Promise<{ file: StoredFile; fd: number }> {
    const name = cString(path), out = new Uint8Array(INFO_BYTES);
    const fd = await holding(this.#calls.p4nfs_open(root, name, out), name, out);
    if (fd < 0) throw new FileError(-fd, "open", path);
    return { file: unpackInfo(out), fd };
  }

  /**
   * Copies up to `length` bytes at `offset` of the object at `from` into an open file; returns what
   * the object is.
   * @throws FileError EAGAIN when the object changed during the copy.
   */
  async copyRange(
    root: number,
    from: string,
    fd: number,
    offset: number,
    length: number,
  ): Promise<StoredFile> {
    const name = cString(from), out = new Uint8Array(INFO_BYTES);
    const call = this.#calls.p4nfs_copy_range(
      root,
      name,
      fd,
      BigInt(length),
      BigInt(offset),
      out,
    );
    const n = Number(await holding(call, name, out));
    if (n < 0) throw new FileError(-n, "copy", from);
    return unpackInfo(out);
  }

  /** Removes the file at the path, durably. @throws FileError */
  async remove(root: number, path: string): Promise<void> {
    const name = cString(path);
    const rc = await holding(this.#calls.p4nfs_remove(root, name), name);
    if (rc < 0) throw new FileError(-rc, "remove", path);
  }

  /** All regular files and directories in the directory `path`; "" is the root. @throws FileError */
  async list(root: number, path: string): Promise<StoredEntry[]> {
    const name = cString(path === "" ? "." : path);
    const fd = await holding(this.#calls.p4nfs_open_dir(root, name), name);
    if (fd < 0) throw new FileError(-fd, "open the directory", path);
    try {
      const entries: StoredEntry[] = [];
      const page = new Uint8Array(LIST_BYTES);
      for (;;) {
        const call = this.#calls.p4nfs_list(fd, page, BigInt(LIST_BYTES));
        const n = Number(await holding(call, page));
        if (n < 0) throw new FileError(-n, "list the directory", path);
        if (n === 0) return entries;
        for (const entry of unpackEntries(page.subarray(0, n))) entries.push(entry);
      }
    } finally {
      await this.closeFile(fd);
    }
  }

  async closeFile(fd: number): Promise<void> {
    await this.#calls.p4files_close(fd);
  }

  close(): void {
    this.#library.close();
  }
}
