/**
 * Sizes and ages as people read them.
 *
 * @module
 */

import { format as formatBytes } from "deno-std/fmt/bytes.js";

/** `1.5 GiB`. */
export function sizeText(bytes: number): string {
  return formatBytes(bytes, { binary: true, maximumFractionDigits: 1 });
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
