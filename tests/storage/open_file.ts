/**
 * An open file for tests of what works with descriptors.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";

/** See the module. */
export class OpenFile {
  readonly #dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "openfile" });
  readonly #files: DepotFiles;
  readonly #opened: number[] = [];
  readonly path = `${this.#dir}/file`;
  /** May be read and written. */
  readonly fd: number;

  constructor(bytes: Uint8Array) {
    this.#files = new DepotFiles(this.#dir);
    this.fd = this.#files.createNameless(".");
    this.#opened.push(this.fd);
    Deno.writeFileSync(`/proc/self/fd/${this.fd}`, bytes);
    this.#files.place("file", this.fd, 0o644, 1_700_000_000_123_456_789n);
  }

  /** The version that it is now. */
  version(): { readonly fd: number; readonly size: number; readonly mtimeNs: bigint } {
    const { size, mtimeNs } = this.#files.statOpen(this.fd, "file");
    return { fd: this.fd, size, mtimeNs };
  }

  /** Another descriptor of it, which may only be read. */
  readOnlyFd(): number {
    const { fd } = this.#files.open("file");
    this.#opened.push(fd);
    return fd;
  }

  read(): Uint8Array {
    return Deno.readFileSync(this.path);
  }

  write(bytes: Uint8Array, offset: number): void {
    using file = Deno.openSync(this.path, { write: true });
    file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
  }

  [Symbol.dispose](): void {
    for (const fd of this.#opened) this.#files.closeFile(fd);
    this.#files.close();
    Deno.removeSync(this.#dir, { recursive: true });
  }
}
