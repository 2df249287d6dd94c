/**
 * The little XML that S3 answers with: flat elements without attributes that matter.
 *
 * @module
 */

/** Text of the first `<name>` element, entities decoded; null when there is none. */
export function xmlText(xml: string, name: string): string | null {
  // Without a pattern: making one takes longer than all else that is done with an error document.
  const tag = `<${name}`, end = `</${name}>`;
  let isEmpty = false;
  for (let at = 0; (at = xml.indexOf(tag, at)) >= 0;) {
    at += tag.length;
    const close = xml.indexOf(">", at);
    if (close < 0) break;
    const rest = xml.slice(at, close);
    if (!/^(?:\s|\/?$)/.test(rest)) continue; // a longer name
    const next = xml.indexOf("<", close);
    const hasText = rest !== "/" && next >= 0 && xml.startsWith(end, next);
    if (hasText) return decodeEntities(xml.slice(close + 1, next));
    isEmpty ||= rest.endsWith("/");
  }
  return isEmpty ? "" : null;
}

/** Inner XML of every `<name>` element; such elements do not nest in each other. */
export function* xmlElements(xml: string, name: string): Iterable<string> {
  const pattern = new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, "g");
  for (const match of xml.matchAll(pattern)) yield match[1]!;
}

/** Whether the document's root element has this name. */
export function xmlRootIs(xml: string, name: string): boolean {
  return new RegExp(`^\\ufeff?\\s*(?:<\\?[^>]*\\?>\\s*)?<${name}[\\s/>]`).test(xml);
}

/** Text for between two tags. */
export function xmlEscape(text: string): string {
  return text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

function decodeEntities(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-fA-F]+)|#([0-9]+)|(\w+));/g,
    (all, hexadecimal, decimal, name) => {
      if (name !== undefined) return ENTITIES[name] ?? all;
      const code = hexadecimal !== undefined ? parseInt(hexadecimal, 16) : parseInt(decimal, 10);
      return code <= 0x10ffff ? String.fromCodePoint(code) : all;
    },
  );
}
