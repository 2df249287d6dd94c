/**
 * Keys that a JSON object has twice. Parsers take the last one silently, this program's as well as the
 * C++ program's: such a file loads, but somebody should know.
 *
 * @module
 */

/** A key that stands in its object for the second time, or again. */
export interface RepeatedKey {
  /** With the keys around it: `primary.bucket`. */
  readonly path: string;
  /** Offset in the text, characters. */
  readonly offset: number;
}

/** The whole of a string, or one character that begins or ends something. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],]/gs;

/** One object or list that is not ended yet. */
interface Open {
  /** Keys so far; null in a list. */
  readonly keys: Set<string> | null;
  /** The last one; null where the next string is a key. */
  key: string | null;
}

/** @param text Valid JSON. */
export function repeatedKeys(text: string): RepeatedKey[] {
  const found: RepeatedKey[] = [];
  const open: Open[] = [];
  for (const { 0: token, index: offset } of text.matchAll(TOKENS)) {
    const inner = open.at(-1);
    if (token === "{") open.push({ keys: new Set(), key: null });
    else if (token === "[") open.push({ keys: null, key: null });
    else if (token === "}" || token === "]") open.pop();
    else if (token === "," && inner !== undefined) inner.key = null;
    else if (inner !== undefined && inner.keys !== null && inner.key === null) {
      const key: string = inner.key = JSON.parse(token);
      const path = open.flatMap((each) => each.key ?? []).join(".");
      if (inner.keys.has(key)) found.push({ path, offset });
      inner.keys.add(key);
    }
  }
  return found;
}
