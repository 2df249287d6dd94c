/**
 * Sizes and ages as people read and type them.
 *
 * @module
 */

import { ConfigError } from "./errors.ts";
import { format as formatBytes } from "deno-std/fmt/bytes.js";

/** `1.5 GiB`. */
export function sizeText(bytes: number): string {
  // IEC 80000-13 writes the first prefix with a capital, too.
  return formatBytes(bytes, { binary: true, maximumFractionDigits: 1 }).replace("kiB", "KiB");
}

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
};

/**
 * Bytes of a size as people type it: `10GB`, `500M`, `1.5 TiB`, `4096`. Units count in 1024s.
 * @throws ConfigError naming the option.
 */
export function sizeOf(text: string, option: string): number {
  const parts = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  const bytes = parts === null ? 0 : Math.floor(Number(parts[1]) * UNITS[parts[2]!.toUpperCase()]!);
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new ConfigError(`Cannot use ${option} '${text}': allowed is a size such as 10GB or 500MB`);
}

/** `3d 4h`, `5m 12s`, `8s`: the two largest units. */
export function ageText(seconds: number): string {
  const units: [string, number][] = [["d", 86_400], ["h", 3600], ["m", 60], ["s", 1]];
  const parts: string[] = [];
  let rest = Math.floor(seconds);
  for (const [name, size] of units) {
    const count = Math.floor(rest / size);
    rest %= size;
    if (count > 0) parts.push(`${count}${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.length === 0 ? "0s" : parts.join(" ");
}
