/**
 * What p4d believes: the depot as it would be if no file were ever evicted. Programs' system calls are
 * entered here in the instant they take effect, and the promises are checked against it.
 *
 * @module
 */

/** A file as p4d sees it; the same object while it is renamed, linked, evicted and restored. */
export interface LogicalFile {
  content: Uint8Array<ArrayBuffer>;
  mode: number;
  /** Whether a directory of it was renamed: its object may still be elsewhere. */
  wasRenamed: boolean;
  /** It is there though p4d removed it, or renamed its directory, unseen: it may go again unless it is written. */
  cameBack: boolean;
}

/** See the module. */
export class Ledger {
  readonly files = new Map<string, LogicalFile>();
  /** Evicted files that are being deleted: the daemon was asked, and has not answered. */
  readonly removing = new Set<string>();
  /** Told of each path whose file changed, came or went. */
  onChange: (path: string) => void = () => {};
  readonly #births = new Map<string, number>();
  readonly #bornAt = new Map<string, number>();
  readonly #ages = new Map<string, number>();
  readonly #now: () => number;

  /** @param now Steps so far. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get(path: string): LogicalFile | null {
    return this.files.get(path) ?? null;
  }

  set(path: string, file: LogicalFile): void {
    if (this.files.get(path) !== file) this.#bornAt.set(path, this.#now());
    if (!this.files.has(path)) this.#births.set(path, this.birth(path) + 1);
    this.files.set(path, file);
    this.onChange(path);
  }

  remove(path: string): void {
    this.files.delete(path);
    this.#ages.set(path, this.#now() - (this.#bornAt.get(path) ?? 0));
    this.onChange(path);
  }

  /** rename(2) of a directory, with all below. */
  renameDirectory(from: string, to: string): void {
    for (const [path, file] of [...this.files]) {
      if (!path.startsWith(`${from}/`)) continue;
      this.remove(path);
      file.wasRenamed = true;
      this.set(to + path.slice(from.length), file);
    }
  }

  /** How long the file that was removed from the path last had been there, steps. */
  ageAtRemoval(path: string): number {
    return this.#ages.get(path) ?? 0;
  }

  /** Raised each time a file comes to be at the path where none was. */
  birth(path: string): number {
    return this.#births.get(path) ?? 0;
  }

  write(file: LogicalFile, content: Uint8Array<ArrayBuffer>): void {
    file.content = content;
    file.cameBack = false;
    for (const [path, other] of this.files) if (other === file) this.onChange(path);
  }
}
