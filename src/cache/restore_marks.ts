/**
 * Marks of restored files that the manifest does not know durably yet (P2).
 *
 * A restored file has its name before its bytes are on the platter. Its note (`src/manifest/unsynced.ts`)
 * says so from the manifest's next commit on, a tenth of a second later; but any sync of the filesystem
 * takes the name to the platter at once. So a name is made in the state directory before: its mark, which
 * says what is going to be at which path. It is not synced, and needs not be: ext4 and XFS keep the order
 * of names in their journal, so that no name is on the platter without those that were made before it.
 *
 * Steps of a restore, and what a power cut between them leaves (tests/cache/restore_marks_test.ts cuts at
 * each of them, with every state of the file that the disk may have kept):
 *
 *   1. before the mark, or it is not on the platter → there is nothing at the path.
 *   2. mark, no file → what is at the path is somebody else's: newer than the version in the mark, or the
 *      one that is recorded. It stays.
 *   3. mark, file → nobody knows the file but the mark: torn, it is put aside; whole, it stays, and is
 *      found as one of a crash is.
 *   4. mark, file, record with its note → both tell the same.
 *   5. file, record with its note; the mark was removed, since the commit is durable → the note tells.
 *   6. the filesystem was synced → the file is whole, note or not.
 *
 * A crash of the daemon alone leaves whole files: then marks are only removed.
 *
 * A mark's name is `number.part.parts.text`; parts of the text together are the base64 form (with "_" for
 * "/") of the mtime in ns, the digest and the path, one a line. A long path takes several names; with some of
 * them missing the file was not given its own yet.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { DepotFiles } from "../../ffi/files.ts";
import { STATE_DIR } from "../depot_path.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Version } from "../manifest/schema.ts";
import type { UnsyncedNote } from "../manifest/unsynced.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";

/** Depot-relative directory of the marks. */
export const MARKS_DIR = `${STATE_DIR}/restoring`;

/** Characters of text in one name: with the numbers, no more than a name may have (255). */
const TEXT_LENGTH = 220;

/** A failure to remove marks is told this often, ms. */
const REPEAT_MS = 60_000;

/** The names of one mark. */
export type Mark = readonly string[];

/** Parts it works on. */
export interface RestoreMarksParts {
  readonly files: Pick<DepotFiles, "names">;
  readonly manifest: Pick<Manifest, "durable">;
  readonly log: Logger;
}

/** See the module's description. */
export class RestoreMarks {
  readonly #parts: RestoreMarksParts;
  readonly #names: ReturnType<DepotFiles["names"]>;
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  #next = 0;
  /** Of files whose record is staged. */
  #released: string[] = [];
  #removing: Promise<void> | null = null;

  /** @throws FileError when the directory is not there. */
  constructor(parts: RestoreMarksParts) {
    this.#parts = parts;
    this.#names = parts.files.names(MARKS_DIR);
  }

  /** Makes a mark: the version is about to get its name. @throws FileError */
  add(path: string, version: Pick<Version, "mtimeNs" | "digest">): Mark {
    const mark = encodeMark(this.#next++, path, version);
    for (const name of mark) this.#names.add(name);
    return mark;
  }

  /** The file's record is staged, or the file did not get its name: removes the mark when that is durable. */
  release(mark: Mark): void {
    this.#released.push(...mark);
    this.#removing ??= this.#remove().finally(() => this.#removing = null);
  }

  /** Resolves when no mark waits to be removed. */
  async stop(): Promise<void> {
    await this.#removing;
  }

  async #remove(): Promise<void> {
    while (this.#released.length > 0) {
      const names = this.#released;
      this.#released = [];
      try {
        await this.#parts.manifest.durable();
        await this.#names.remove(names);
      } catch (error) {
        // They cost the next start a look, and that removes them.
        const line = this.#limited("Cannot remove marks of restored files");
        if (line !== null) this.#parts.log.warning(`${line}: ${describeError(error)}`);
      }
    }
  }
}

/** The names of a mark. */
export function encodeMark(
  number: number,
  path: string,
  { mtimeNs, digest }: Pick<Version, "mtimeNs" | "digest">,
): Mark {
  const text = btoa(`${mtimeNs}\n${digest}\n${path}`).replaceAll("/", "_");
  const parts = Math.ceil(text.length / TEXT_LENGTH);
  return Array.from(
    { length: parts },
    (_, i) => `${number}.${i}.${parts}.${text.slice(i * TEXT_LENGTH, (i + 1) * TEXT_LENGTH)}`,
  );
}

/** Reads the names in the directory of the marks; what is no whole mark says nothing. */
export function decodeMarks(names: readonly string[]): UnsyncedNote[] {
  const texts = new Map<string, string[]>();
  for (const name of names) {
    const found = /^(\d+)\.(\d+)\.(\d+)\.(.+)$/.exec(name);
    if (found === null) continue;
    const [, number, part, parts, text] = found;
    const key = `${number}.${parts}`;
    const known = texts.get(key) ?? [];
    known[Number(part)] = text!;
    texts.set(key, known);
  }
  const notes: UnsyncedNote[] = [];
  for (const [key, parts] of texts) {
    const whole = parts.filter((part) => part !== undefined);
    if (whole.length !== Number(key.split(".")[1])) continue;
    const [mtimeNs, digest, path] = atob(whole.join("").replaceAll("_", "/")).split("\n");
    notes.push({ path: path!, version: { mtimeNs: BigInt(mtimeNs!), digest: digest! } });
  }
  return notes;
}
