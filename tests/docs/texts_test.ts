/**
 * What documents say about the program and about each other: messages are the program's, links lead
 * somewhere.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { dirname, join } from "node:path/posix";

const ROOT = new URL("../../", import.meta.url).pathname;

function files(dir: string, ends: RegExp): string[] {
  return Array.from(Deno.readDirSync(ROOT + dir)).flatMap(({ name, isDirectory }) =>
    isDirectory ? files(`${dir}/${name}`, ends) : ends.test(name) ? [`${dir}/${name}`] : []
  );
}

/** Of the kernel and the C library, not ours. */
const OTHERS = ["Operation not permitted", "No such file or directory", "Input/output error"];

Deno.test("every message in the troubleshooting page is one that the program prints", () => {
  const sources = [
    "install.sh",
    ...["src", "ffi", "shim/helper"].flatMap((dir) => files(dir, /\.(ts|c)$/)),
  ];
  // Long messages are written in pieces: join them.
  const code = sources.map((path) => Deno.readTextFileSync(ROOT + path)).join("\n")
    .replaceAll(/["`'] \+\s*["`']|"\s*\n\s*"/g, "");
  const page = Deno.readTextFileSync(`${ROOT}docs/troubleshooting.md`);
  const missing: string[] = [];
  for (const [heading] of page.matchAll(/^### .*$/gm)) {
    for (const [, message] of heading.matchAll(/`([^`]+)`/g)) {
      const pieces = message!.split(/<[^>]*>|…/).map((piece) => piece.trim());
      const lacks = pieces.filter((piece) => piece.length > 3 && !code.includes(piece));
      if (!OTHERS.includes(message!)) missing.push(...lacks.map((piece) => `${message}: ${piece}`));
    }
  }
  assertEquals(missing, []);
});

Deno.test("every link between the documents leads to a file", () => {
  const broken: string[] = [];
  for (const path of ["README.md", "SECURITY.md", "CHANGELOG.md", ...files("docs", /\.md$/)]) {
    const text = Deno.readTextFileSync(ROOT + path).replaceAll(/^```[\s\S]*?^```/gm, "");
    for (const [, target] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      try {
        Deno.statSync(ROOT + join(dirname(path), target!));
      } catch {
        broken.push(`${path}: ${target}`);
      }
    }
  }
  assertEquals(broken, []);
});
