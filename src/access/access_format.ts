/**
 * How entries of the access log look in text: names as the bytes they are, times in UTC.
 *
 * - `tsv`: `path<TAB>time`; in a name, tab, newline, carriage return and backslash are written `\t`,
 *   `\n`, `\r`, `\\` (the usual form of linear TSV).
 * - `csv`: `path,time` as in RFC 4180; a name with a comma, quote or line break stands in quotes.
 * - `json`: one object a line. A name that is not UTF-8 has its bytes in `path_base64` too.
 *
 * @module
 */

import { encodeBase64 } from "deno-std/encoding/base64.js";
import { displayPath, pathFromBytes } from "../depot_path.ts";

/** How entries are printed. */
export type AccessFormat = "tsv" | "csv" | "json";

/** The latest time with a year of four digits; anything above is no time and printed as this. */
const LAST_SECOND = 253_402_300_799;

const DAY_SECONDS = 86_400;
const CHUNK_BYTES = 64 * 1024;
const TAB = 0x09, LF = 0x0a, CR = 0x0d, QUOTE = 0x22, COMMA = 0x2c, BACKSLASH = 0x5c;
const ESCAPES: Readonly<Record<number, number>> = {
  [TAB]: 0x74,
  [LF]: 0x6e,
  [CR]: 0x72,
  [BACKSLASH]: BACKSLASH,
};

/** Seconds since the epoch as `2026-01-31T12:00:00Z`. */
export function timeText(seconds: number): string {
  return new Date(Math.min(seconds, LAST_SECOND) * 1000).toISOString().replace(".000Z", "Z");
}

/** What a path is in JSON; one character per byte goes in. */
export function jsonPath(path: string): { path: string; path_base64?: string } {
  const bytes = Uint8Array.from(path, (c) => c.charCodeAt(0));
  try {
    return { path: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { path: displayPath(path), path_base64: encodeBase64(bytes) };
  }
}

/** Gathers formatted rows and hands them on in chunks. */
export class RowWriter {
  readonly #format: AccessFormat;
  readonly #write: (chunk: Uint8Array) => void;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #used = 0;
  #day = -1;
  #dayText = "";

  /** @param write Given each chunk, which is reused after it returns. */
  constructor(format: AccessFormat, write: (chunk: Uint8Array) => void) {
    this.#format = format;
    this.#write = write;
  }

  /** The line before the first row, where the format has one. */
  header(): void {
    if (this.#format !== "json") this.#text(`path${this.#format === "csv" ? "," : "\t"}time\n`);
  }

  /** Adds one row. */
  row(path: Uint8Array, seconds: number): void {
    // Twice the name, should every byte be escaped; the rest for the time and separators.
    if (this.#used + 2 * path.length + 64 > CHUNK_BYTES) this.flush();
    if (this.#format === "json") return this.#json(path, seconds);
    if (this.#format === "tsv") this.#escaped(path);
    else this.#quoted(path);
    this.#chunk[this.#used++] = this.#format === "tsv" ? TAB : COMMA;
    this.#time(seconds);
    this.#chunk[this.#used++] = LF;
  }

  /** Hands on what is left. */
  flush(): void {
    if (this.#used > 0) this.#write(this.#chunk.subarray(0, this.#used));
    this.#used = 0;
  }

  #json(path: Uint8Array, seconds: number): void {
    if (has(path, isOddInJson)) {
      const object = { ...jsonPath(pathFromBytes(path)), last_access: timeText(seconds) };
      const line = new TextEncoder().encode(JSON.stringify(object) + "\n");
      if (this.#used + line.length > CHUNK_BYTES) this.flush();
      this.#chunk.set(line, this.#used);
      this.#used += line.length;
      return;
    }
    this.#text('{"path":"');
    this.#chunk.set(path, this.#used);
    this.#used += path.length;
    this.#text('","last_access":"');
    this.#time(seconds);
    this.#text('"}\n');
  }

  #text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#chunk[this.#used++] = text.charCodeAt(i);
  }

  #escaped(path: Uint8Array): void {
    const chunk = this.#chunk;
    let used = this.#used;
    for (let i = 0; i < path.length; i++) {
      const byte = path[i]!;
      const escape = byte > BACKSLASH ? undefined : ESCAPES[byte];
      if (escape !== undefined) chunk[used++] = BACKSLASH;
      chunk[used++] = escape ?? byte;
    }
    this.#used = used;
  }

  #quoted(path: Uint8Array): void {
    const chunk = this.#chunk;
    const isQuoted = has(path, isOddInCsv);
    let used = this.#used;
    if (isQuoted) chunk[used++] = QUOTE;
    for (let i = 0; i < path.length; i++) {
      if (path[i] === QUOTE) chunk[used++] = QUOTE;
      chunk[used++] = path[i]!;
    }
    if (isQuoted) chunk[used++] = QUOTE;
    this.#used = used;
  }

  /** Entries of one day share its text: a Date for each row would cost more than the rest. */
  #time(epochSeconds: number): void {
    const seconds = Math.min(epochSeconds, LAST_SECOND);
    const day = Math.floor(seconds / DAY_SECONDS);
    if (day !== this.#day) {
      this.#day = day;
      this.#dayText = timeText(day * DAY_SECONDS).slice(0, 11);
    }
    this.#text(this.#dayText);
    const rest = seconds - day * DAY_SECONDS;
    this.#twoDigits(Math.floor(rest / 3600), 0x3a);
    this.#twoDigits(Math.floor(rest / 60) % 60, 0x3a);
    this.#twoDigits(rest % 60, 0x5a);
  }

  #twoDigits(value: number, then: number): void {
    this.#chunk[this.#used++] = 0x30 + Math.floor(value / 10);
    this.#chunk[this.#used++] = 0x30 + value % 10;
    this.#chunk[this.#used++] = then;
  }
}

const isOddInCsv = (byte: number) => byte === COMMA || byte === QUOTE || byte === LF || byte === CR;
const isOddInJson = (byte: number) =>
  byte < 0x20 || byte > 0x7e || byte === QUOTE || byte === BACKSLASH;

/** Indexed, as everything that is done for each byte of millions of names. */
function has(path: Uint8Array, isOdd: (byte: number) => boolean): boolean {
  for (let i = 0; i < path.length; i++) if (isOdd(path[i]!)) return true;
  return false;
}
