/**
 * Which state of the daemon's page the pictures in the documents show.
 *
 * @module
 */

import { encodeHex } from "deno-std/encoding/mod.js";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Where the pictures are; ends with a slash. */
export const PICTURES = `${ROOT}docs/images/`;

/** Holds the digest of the page that they were taken of. */
export const PAGE = `${PICTURES}page.sha256`;

/** SHA-256 of the page as it is, hexadecimal. */
export async function pageDigest(): Promise<string> {
  const page = Deno.readFileSync(`${ROOT}src/admin/dashboard.html`);
  return encodeHex(await crypto.subtle.digest("SHA-256", page));
}
