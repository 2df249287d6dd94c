/** The rules of the source tree that no other tool looks at. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { BACKEND_SETTINGS } from "../../src/config/backend_settings.ts";
import { DAEMON_SETTINGS } from "../../src/config/daemon_settings.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Lines of a file that may be read in one go; longer ones say at their top why they are one file. */
const MOST_LINES = 400, REASON = /however long|one file because/i, HEAD_LINES = 25;

function filesBelow(dir: string): string[] {
  return Array.from(Deno.readDirSync(ROOT + dir)).flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${dir}/${name}`) : [`${dir}/${name}`]
  );
}

const sources = new Map(
  ["main.ts", "install.sh", ...["src", "ffi", "shim", "tests"].flatMap(filesBelow)]
    .filter((path) => /\.(ts|c|h|sh)$/.test(path))
    .map((path) => [path, Deno.readTextFileSync(ROOT + path)]),
);

Deno.test("every file begins with what it owns", () => {
  const bare = [...sources].filter(([path, text]) =>
    path.endsWith(".ts")
      ? !/^\/\*\*[\s\S]*?@module\s*\*\//.test(text)
      : !/^(#!.*\n)?(\/\*|#) /.test(text)
  );
  assertEquals(bare.map(([path]) => path), []);
});

Deno.test("a file that is too long to be read in one go says why it is one file", () => {
  const long = [...sources].filter(([, text]) => {
    const lines = text.split("\n");
    return lines.length - 1 > MOST_LINES && !REASON.test(lines.slice(0, HEAD_LINES).join(" "));
  });
  assertEquals(long.map(([path]) => path), []);
});

Deno.test("what a file exports to others is used by another one", () => {
  const users = new Map<string, number>();
  const scripts = [...sources].filter(([path]) => path.endsWith(".ts"));
  for (const [, text] of scripts) {
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    for (const word of new Set(code.match(/[\w$]+/g))) users.set(word, (users.get(word) ?? 0) + 1);
  }
  const unused = scripts.flatMap(([path, text]) =>
    [...text.matchAll(/^export (?:abstract |async )?(?:const|function\*?|class) ([\w$]+)/gm)]
      .filter(([, name]) => users.get(name!) === 1)
      .map(([, name]) => `${path}: ${name}`)
  );
  assertEquals(unused, []);
});

Deno.test("no file is there for nothing: others import it, name it, or it is a test", () => {
  const named = [...sources.entries(), ["", Deno.readTextFileSync(`${ROOT}deno.json`)] as const]
    .map(([path, text]) => ({ path, text }));
  const idle = [...sources.keys()].filter((path) => {
    const name = path.split("/").at(-1)!.replace(/\.ts$/, ".");
    return /^(src|ffi|tests)\/.*(?<!_test|_bench)\.ts$/.test(path) &&
      !named.some((each) => each.path !== path && each.text.includes(`/${name}`));
  });
  assertEquals(idle, []);
});

Deno.test("no setting is without effect: each is read outside the configuration", () => {
  const code = [...sources].filter(([path]) => /^src\/(?!config\/)/.test(path))
    .map(([, text]) => text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")).join("\n");
  const words = new Set(code.match(/\w+/g));
  const unread = [...DAEMON_SETTINGS, ...BACKEND_SETTINGS].filter(({ field }) => !words.has(field));
  assertEquals(unread.map(({ key }) => key), []);
});

Deno.test("the page on architecture has every folder of the program, and no other", () => {
  const page = Deno.readTextFileSync(`${ROOT}docs/architecture.md`);
  const folders = Array.from(Deno.readDirSync(`${ROOT}src`))
    .filter(({ isDirectory }) => isDirectory)
    .map(({ name }) => `src/${name}/`);
  const told = [...page.matchAll(/^\| `(src\/[^`]+\/)`/gm)].map(([, folder]) => folder!);
  assertEquals(told.sort(), folders.sort());
});

Deno.test("folders do not load one another in a circle", () => {
  const folder = (path: string) => /^(src\/[^/]+|ffi)\//.exec(path)?.[1] ?? null;
  const loads = new Map<string, Set<string>>();
  for (const [path, text] of sources) {
    const from = folder(path);
    if (from === null) continue;
    const found = loads.get(from) ?? new Set();
    loads.set(from, found);
    // What is only a type is not loaded.
    const code = text.replaceAll(/^import (type [^;]*|\{(\s*type \w+,?)+\s*\} from [^;]*);$/gm, "");
    for (const [, relative] of code.matchAll(/(?:from |import\()"(\.[^"]+)"/g)) {
      const to = folder(new URL(relative!, `file:///${path}`).pathname.slice(1));
      if (to !== null && to !== from) found.add(to);
    }
  }
  // Whatever loads nothing more is taken away, again and again: a circle stays.
  for (let before = -1; before !== loads.size;) {
    before = loads.size;
    for (const [from, to] of loads) {
      if (![...to].some((each) => loads.has(each))) loads.delete(from);
    }
  }
  assertEquals(loads, new Map());
});

Deno.test("files that comments and documents name are there", () => {
  const names = new Set([...sources.keys()].map((path) => path.split("/").at(-1)));
  const pages = [...filesBelow("docs"), "README.md"].filter((path) => path.endsWith(".md"))
    .map((path): [string, string] => [path, Deno.readTextFileSync(ROOT + path)]);
  const missing = [...sources, ...pages].flatMap(([path, text]) =>
    [...text.matchAll(/`((?:[\w.-]+\/)*[\w-]+\.(?:ts|c|h))`/g)]
      .filter(([, named]) => !names.has(named!.split("/").at(-1)))
      .map(([, named]) => `${path}: ${named}`)
  );
  assertEquals(missing, []);
});
