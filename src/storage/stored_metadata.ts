/**
 * What is stored with an object beside its bytes, as names and values that every provider can keep.
 *
 * @module
 */

import type { ObjectInfo } from "./backend.ts";

/** What is stored with an object, as far as it is known. */
export type StoredMetadata = Pick<ObjectInfo, "digest" | "mode" | "mtimeNs">;

/**
 * Names and values to store; the provider's own prefix goes before each name.
 * @param name The path as people may read it, where the key is not that.
 */
export function metadataEntries(
  { digest, mode, mtimeNs }: StoredMetadata,
  name: string | null,
): [string, string][] {
  const entries: [string, string][] = [];
  if (digest !== null) entries.push(["digest", digest]);
  if (mode !== null) entries.push(["mode", "0" + (mode & 0o7777).toString(8)]);
  if (mtimeNs !== null) entries.push(["mtime-ns", mtimeNs.toString()]);
  if (name !== null) entries.push(["name", name]);
  return entries;
}

/** What was stored; null for what is missing or makes no sense. @param value By name. */
export function readMetadata(value: (name: string) => string | null): StoredMetadata {
  const mtime = value("mtime-ns");
  const mode = value("mode");
  return {
    mtimeNs: mtime !== null && /^-?\d{1,19}$/.test(mtime) ? BigInt(mtime) : null,
    mode: mode !== null && /^[0-7]{1,5}$/.test(mode) ? parseInt(mode, 8) & 0o7777 : null,
    digest: value("digest"),
  };
}

/** The time an answer tells for an object, as a field of {@link ObjectInfo}; nothing when it makes no sense. */
export function storedTime(text: string | null): Pick<ObjectInfo, "storedMs"> {
  const ms = Date.parse(text ?? "");
  // Some answers have whole seconds, others more: the same version has the same time in all.
  return Number.isNaN(ms) ? {} : { storedMs: ms - ms % 1000 };
}
