/**
 * What a replica does with what the feed tells: a changed file is old from that moment on, and its copy
 * goes from the disk, so that programs without the preload library do not read it either.
 *
 * A copy that somebody has open stays; the next open under the library replaces it.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Change } from "./feed_format.ts";
import type { FeedListener } from "./feed_follower.ts";
import type { Freshness } from "./freshness.ts";

/** Copies dropped in one call. */
const BATCH = 256;

/** What it works with. */
export interface StaleCopiesParts {
  readonly freshness: Pick<Freshness, "forget" | "gap" | "followed">;
  readonly manifest: Pick<Manifest, "get">;
  /** Takes copies from the disk, as far as each may go. */
  readonly evictOnly: (paths: readonly DepotPath[]) => Promise<unknown>;
  readonly onChange: () => void;
  readonly onGap: (why: string) => void;
  readonly onError: (error: unknown) => void;
}

/** See the module. */
export class StaleCopies implements FeedListener {
  readonly #parts: StaleCopiesParts;
  readonly #waiting = new Set<DepotPath>();
  #dropping: Promise<void> | null = null;

  constructor(parts: StaleCopiesParts) {
    this.#parts = parts;
  }

  changed({ path, etag }: Change): void {
    const { freshness, manifest, onChange } = this.#parts;
    onChange();
    freshness.forget(path);
    const version = manifest.get(path)?.version ?? null;
    // Restored since: what is here is what was told.
    if (version === null || (etag !== "" && version.etag === etag)) return;
    this.#waiting.add(path);
    this.#dropping ??= this.#drop();
  }

  gap(why: string): void {
    this.#parts.freshness.gap();
    this.#parts.onGap(why);
  }

  followed(atMs: number): void {
    this.#parts.freshness.followed(atMs);
  }

  /** Resolves when nothing waits. */
  async settled(): Promise<void> {
    await this.#dropping;
  }

  async #drop(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, BATCH);
      for (const path of batch) this.#waiting.delete(path);
      try {
        await this.#parts.evictOnly(batch);
      } catch (error) {
        this.#parts.onError(error);
      }
    }
    this.#dropping = null;
  }
}
