/**
 * Which local copies of archives are known to be current, and until when.
 *
 * One table for the daemon and all processes under the preload library, which has the page mapped
 * (`shim/preload/fresh.c`): the open of a fresh file asks nobody. Little endian:
 *
 *     0   u32  magic: the table is in use       64  entries: u64 tag, the hash of the path; 0: empty
 *     4   u32  period, ms                                   u64 until, ms since 1970, shifted by 16,
 *     8   u32  generation                                       and the generation
 *     16  u64  followed until, ms since 1970
 *
 * A file is fresh while its own entry says so, and also as long as the change feed is followed, since the
 * feed would have told of a change. A gap in the feed begins another generation, and what has an earlier
 * one is not fresh. Generation 0 is for what the feed says nothing about.
 *
 * A tag is written first as 0, and last: whoever reads the same tag before and after has read a whole
 * entry. Entries share their places by the hash; a file that lost its place is looked at once more.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type { FeedListener } from "./feed_follower.ts";

/** Entries of the table; `shim/preload/fresh.c` has the same numbers. */
const ENTRIES = 65_536;
const HEADER_BYTES = 64;
const ENTRY_BYTES = 16;

/** Bytes of the page. */
export const PAGE_BYTES = HEADER_BYTES + ENTRIES * ENTRY_BYTES;

/** "P4FR". */
const MAGIC = 0x52463450;

const NO_GENERATION = 0, MAX_GENERATION = 0xffff;

/** Where the table is written to for others to read. */
export interface FreshnessPage {
  write(offset: number, bytes: Uint8Array<ArrayBuffer>): void;
}

/** A look at the storage that is under way. */
export interface Look {
  /**
   * What was read is what is at the path now. Says nothing when a change was told meanwhile.
   * @param forMs Only for so long, whatever the feed says.
   */
  confirm(forMs?: number): void;
  /** It says nothing. */
  drop(): void;
}

interface OpenLook {
  readonly generation: number;
  isOutdated: boolean;
}

/** See the module's description. */
export class Freshness implements Pick<FeedListener, "followed" | "gap"> {
  readonly #page: FreshnessPage;
  readonly #nowMs: () => number;
  readonly #periodMs: number;
  readonly #bytes = new Uint8Array(PAGE_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #looks = new Map<string, Set<OpenLook>>();
  #generation = 1;

  /**
   * Begins with an empty table: nothing is fresh.
   * @param nowMs Since 1970: the clock that the preload library reads.
   * @param periodMs How long a look at the storage is good for.
   */
  constructor(page: FreshnessPage, nowMs: () => number, periodMs: number) {
    this.#page = page;
    this.#nowMs = nowMs;
    this.#periodMs = periodMs;
    this.#view.setUint32(4, periodMs, true);
    this.#view.setUint32(8, this.#generation, true);
    page.write(0, this.#bytes);
    this.#view.setUint32(0, MAGIC, true);
    this.#write(0, 4);
  }

  /** Whether the copy may be used as it is. */
  isFresh(path: DepotPath): boolean {
    const tag = tagOf(path), at = placeOf(tag);
    if (this.#view.getBigUint64(at, true) !== tag) return false;
    const word = this.#view.getBigUint64(at + 8, true);
    const generation = Number(word & 0xffffn);
    if (generation !== this.#generation && generation !== NO_GENERATION) return false;
    let untilMs = Number(word >> 16n);
    if (generation === this.#generation) {
      untilMs = Math.max(untilMs, Number(this.#view.getBigUint64(16, true)));
    }
    const leftMs = untilMs - this.#nowMs();
    // More than a period: the clock was set back.
    return leftMs > 0 && leftMs <= this.#periodMs;
  }

  /** Begins a look at the storage; it is good from now on. */
  look(path: DepotPath): Look {
    const look: OpenLook = { generation: this.#generation, isOutdated: false };
    const atMs = this.#nowMs();
    const looks = this.#looks.get(path) ?? new Set();
    this.#looks.set(path, looks.add(look));
    const end = () => {
      looks.delete(look);
      if (looks.size === 0) this.#looks.delete(path);
    };
    return {
      confirm: (forMs) => {
        end();
        if (look.isOutdated) return;
        const lastsMs = Math.min(forMs ?? this.#periodMs, this.#periodMs);
        this.#enter(path, atMs + lastsMs, forMs === undefined ? look.generation : NO_GENERATION);
      },
      drop: end,
    };
  }

  /** The copy is, or may be, an old one. */
  forget(path: DepotPath): void {
    for (const look of this.#looks.get(path) ?? []) look.isOutdated = true;
    const tag = tagOf(path), at = placeOf(tag);
    if (this.#view.getBigUint64(at, true) === tag) this.#setTag(at, 0n);
  }

  /** Changes may have been missed. */
  gap(): void {
    this.#setFollowed(0);
    if (++this.#generation > MAX_GENERATION) {
      this.#generation = 1;
      this.#bytes.fill(0, HEADER_BYTES);
      this.#write(HEADER_BYTES, PAGE_BYTES - HEADER_BYTES);
    }
    this.#view.setUint32(8, this.#generation, true);
    this.#write(8, 4);
  }

  /** Every change before `atMs` (since 1970) was told. */
  followed(atMs: number): void {
    this.#setFollowed(atMs + this.#periodMs);
  }

  /** Nobody reads the table any more. */
  close(): void {
    this.#view.setUint32(0, 0, true);
    this.#write(0, 4);
  }

  #enter(path: DepotPath, untilMs: number, generation: number): void {
    const tag = tagOf(path), at = placeOf(tag);
    this.#setTag(at, 0n);
    const word = BigInt(Math.floor(untilMs)) << 16n | BigInt(generation);
    this.#view.setBigUint64(at + 8, word, true);
    this.#write(at + 8, 8);
    this.#setTag(at, tag);
  }

  #setTag(at: number, tag: bigint): void {
    this.#view.setBigUint64(at, tag, true);
    this.#write(at, 8);
  }

  #setFollowed(untilMs: number): void {
    this.#view.setBigUint64(16, BigInt(Math.max(0, Math.floor(untilMs))), true);
    this.#write(16, 8);
  }

  #write(offset: number, length: number): void {
    this.#page.write(offset, this.#bytes.subarray(offset, offset + length));
  }
}

function placeOf(tag: bigint): number {
  return HEADER_BYTES + Number(tag & BigInt(ENTRIES - 1)) * ENTRY_BYTES;
}

const U64 = 0xffffffffffffffffn, FACTOR = 0xff51afd7ed558ccdn;

/** The hash of a path as `p4_negative_key` in the preload library makes it; never 0. */
export function tagOf(path: string): bigint {
  let hash = 0x9e3779b97f4a7c15n ^ BigInt(path.length);
  let at = 0;
  for (; path.length - at >= 8; at += 8) {
    const word = BigInt(fourBytes(path, at)) | BigInt(fourBytes(path, at + 4)) << 32n;
    hash = (hash ^ word) * FACTOR & U64;
    hash ^= hash >> 32n;
  }
  for (; at < path.length; at++) hash = (hash ^ BigInt(path.charCodeAt(at))) * FACTOR & U64;
  hash ^= hash >> 29n;
  return hash === 0n ? 1n : hash;
}

function fourBytes(path: string, at: number): number {
  const high = path.charCodeAt(at + 2) << 16 | path.charCodeAt(at + 3) << 24;
  return (path.charCodeAt(at) | path.charCodeAt(at + 1) << 8 | high) >>> 0;
}
