/**
 * What documents say about the program and about each other: messages are the program's, links lead
 * somewhere.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { basename, dirname, join } from "node:path/posix";
import { type CommandFacts, commandFacts } from "../../src/commands/command_tree.ts";
import { buildProgram } from "../../src/commands/program.ts";
import { PAGE, pageDigest } from "../demo/pictured_page.ts";

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

/** A fenced block. */
const BLOCK = /^```[\s\S]*?^```/gm;

Deno.test("every command and flag that a document names is there", () => {
  const root = commandFacts(
    buildProgram([], { out: () => {}, err: () => {}, isInteractive: false }, () => {}),
  );
  const wrong: string[] = [];
  const flagsOf = ({ options }: CommandFacts) => options.map(({ long }) => long);
  for (const path of ["README.md", "SECURITY.md", "CHANGELOG.md", ...files("docs", /\.md$/)]) {
    const text = Deno.readTextFileSync(ROOT + path);
    const inline = text.replaceAll(BLOCK, "").matchAll(/`p4-cache ([^`[]+)`/g);
    const blocks = [...text.matchAll(BLOCK)].join("\n").replaceAll("\\\n", " ")
      .matchAll(/^(?:sudo )?p4-cache +([^\n|;&#]+)/gm);
    for (const [, line] of [...inline, ...blocks]) {
      let command = root;
      const flags: string[] = [];
      for (const word of line!.trim().split(/\s+/)) {
        if (word === "--") break; // what comes is somebody else's
        const below = command.commands.find(({ path }) => path.at(-1) === word);
        if (below !== undefined && flags.length === 0) command = below;
        else if (word.startsWith("--")) {
          flags.push(word.replace(/=.*/, "").replace(/[^a-z0-9]+$/, ""));
        } else if (command === root && flags.length === 0) wrong.push(`${path}: p4-cache ${line}`);
      }
      const known = new Set([...flagsOf(command), ...flagsOf(root), "--help", "--version"]);
      wrong.push(
        ...flags.filter((flag) => !known.has(flag)).map((flag) => `${path}: ${line}: ${flag}`),
      );
    }
  }
  assertEquals(wrong, []);
});

/** The anchors of a page's headings, as forges make them. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    Array.from(
      text.replaceAll(BLOCK, "").matchAll(/^#+ (.*)$/gm),
      ([, heading]) =>
        heading!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-"),
    ),
  );
}

Deno.test("every link between the documents leads to a file, and to a heading in it", () => {
  const broken: string[] = [];
  for (const path of ["README.md", "SECURITY.md", "CHANGELOG.md", ...files("docs", /\.md$/)]) {
    const text = Deno.readTextFileSync(ROOT + path).replaceAll(BLOCK, "");
    for (const [, target, anchor] of text.matchAll(/\]\(([^)#\s]*)(?:#([^)]*))?\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const page = ROOT + (target === "" ? path : join(dirname(path), target!));
      try {
        const leads = anchor === undefined
          ? Deno.statSync(page)
          : anchorsOf(Deno.readTextFileSync(page)).has(anchor);
        if (!leads) broken.push(`${path}: ${target}#${anchor}`);
      } catch {
        broken.push(`${path}: ${target}`);
      }
    }
  }
  assertEquals(broken, []);
});

/** What anybody may run; all else needs the configuration, the state directory or the control socket. */
const FOR_ANYBODY = /^(--|exec|shim check|shim install|config check --depot-path|\S+ --depot-path)/;

Deno.test("what only root and the daemon's user may run is shown with sudo", () => {
  const pages = ["docs/how-to", "docs/runbooks"].flatMap((dir) => files(dir, /\.md$/));
  const bare = [...pages, "docs/tutorial.md", "docs/troubleshooting.md"].flatMap((path) => {
    const text = Deno.readTextFileSync(ROOT + path);
    return [...text.matchAll(/^( *)```sh\n([\s\S]*?)^\1```/gm)].flatMap(([, , block]) =>
      Array.from(block!.matchAll(/^ *(?:\$ )?p4-cache (.*)$/gm), ([, rest]) => rest!)
        .filter((rest) => !FOR_ANYBODY.test(rest))
        .map((rest) => `${path}: ${rest}`)
    );
  });
  assertEquals(bare, []);
});

Deno.test("every source file and every task that a document names is there", () => {
  const sources = ["main.ts", ...["src", "ffi", "shim", "tests"].flatMap((dir) => files(dir, /./))];
  const names = new Set(sources.map((path) => basename(path)));
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const missing: string[] = [];
  for (const path of ["README.md", "CHANGELOG.md", ...files("docs", /\.md$/)]) {
    const text = Deno.readTextFileSync(ROOT + path);
    for (const [, source] of text.matchAll(/`([\w./]+\.(?:ts|c|h))`/g)) {
      const isThere = source!.includes("/")
        ? sources.some((each) => each.endsWith(source!))
        : names.has(source!);
      if (!isThere) missing.push(`${path}: ${source}`);
    }
    for (const [, task] of text.matchAll(/(?:deno|deno@2\.4\.2) task ([a-z:]+)/g)) {
      if (!(task! in tasks)) missing.push(`${path}: deno task ${task}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("every page can be reached from README", () => {
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    const text = Deno.readTextFileSync(ROOT + path).replaceAll(BLOCK, "");
    for (const [, target] of text.matchAll(/\]\(([^)#\s]+\.md)(?:#[^)]*)?\)/g)) {
      if (!/^[a-z]+:/.test(target!)) visit(join(dirname(path), target!));
    }
  };
  visit("README.md");
  assertEquals(files("docs", /\.md$/).filter((path) => !seen.has(path)), []);
});

Deno.test("the pictures show the daemon's page as it is; 'deno task pictures' takes them anew", async () => {
  assertEquals(Deno.readTextFileSync(PAGE).trim(), await pageDigest());
});
