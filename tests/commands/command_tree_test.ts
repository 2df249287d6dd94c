/** What is made from the command line itself: completions, man page, reference. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { allCommands, commandFacts } from "../../src/commands/command_tree.ts";
import { completionScript } from "../../src/commands/completion.ts";
import { manualPage } from "../../src/commands/man.ts";
import { buildProgram } from "../../src/commands/program.ts";
import { commandsPage } from "../../src/commands/reference.ts";

const silent = { out: () => {}, err: () => {}, isInteractive: false };
const root = () => commandFacts(buildProgram([], silent, () => {}));

/** What bash offers for the last of the words. */
async function complete(...words: string[]): Promise<string[]> {
  const script = `${completionScript(root(), "bash")}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _p4_cache 2> /dev/null; echo "\${COMPREPLY[@]}"`;
  const { stdout } = await new Deno.Command("bash", { args: ["-c", script, "-", ...words] })
    .output();
  return new TextDecoder().decode(stdout).trim().split(" ").filter((word) => word !== "");
}

Deno.test("every command says what it does, and begins its help with examples of itself", () => {
  for (const { path, help, examples } of allCommands(root())) {
    const name = path.join(" ");
    assert(path.length === 0 || help !== "", `no help: ${name}`);
    assert(
      examples.some((line) => line.includes(`p4-cache ${name}`.trim())),
      `no example: ${name}`,
    );
  }
});

/** What they print is meant for a shell, a pager, an eye, or is JSON, a file or a log already. */
const WITHOUT_JSON = [
  ...["completion", "man", "exec", "top", "config check", "config print", "config schema"],
  ...["config init", "shim install", "run"],
];

Deno.test("every command that tells something tells it as JSON too", () => {
  for (const { path, options, commands } of allCommands(root())) {
    const name = path.join(" ");
    if (path.length === 0 || (commands.length > 0 && path[0] !== "access")) continue;
    const hasJson = options.some(({ long }) => long === "--json");
    assertEquals(hasJson, !WITHOUT_JSON.includes(name), name);
  }
});

Deno.test("the reference of commands is what the tree gives ('deno task docs' renews it)", () => {
  const page = new URL("../../docs/reference/commands.md", import.meta.url);
  assertEquals(Deno.readTextFileSync(page), commandsPage(root()));
});

Deno.test("bash completes commands, sub-commands and flags, past flags with values", async () => {
  assertEquals(await complete("p4-cache", "config", "s"), ["schema"]);
  assertEquals(await complete("p4-cache", "status", "--j"), ["--json"]);
  assertEquals(await complete("p4-cache", "--config", "status", "quer"), []);
  assertEquals(await complete("p4-cache", "--config", "file", "queu"), ["queue"]);
  assert((await complete("p4-cache", "access", "")).includes("top"));
});

Deno.test("bash completes values where they are known, and leaves the others to files", async () => {
  assertEquals(await complete("p4-cache", "--log-format", ""), ["text", "json"]);
  assertEquals(await complete("p4-cache", "ls", "--only", "lo"), ["local"]);
  assertEquals(await complete("p4-cache", "events", "--only", "ev"), ["evicted"]);
  assertEquals(await complete("p4-cache", "completion", "z"), ["zsh"]);
  assertEquals(await complete("p4-cache", "--config", ""), []);
});

Deno.test("the scripts for zsh and fish know every command", () => {
  for (const shell of ["zsh", "fish"] as const) {
    const script = completionScript(root(), shell);
    for (const { path } of allCommands(root())) {
      if (path.length > 0) assertStringIncludes(script, `'${path.at(-1)}`);
    }
  }
});

Deno.test("the manual page has every command and flag, and no line that roff would take for a request", () => {
  const page = manualPage(root());
  for (const { path, options } of allCommands(root())) {
    assertStringIncludes(page, path.map((word) => word.replaceAll("-", "\\-")).join(" "));
    for (const { long, group } of options) {
      if (path.length === 0 || group === "Options:") {
        assertStringIncludes(page, long.replaceAll("-", "\\-"));
      }
    }
  }
  const requests = new Set([
    ".TH",
    ".SH",
    ".SS",
    ".TP",
    ".B",
    ".I",
    ".PP",
    ".nf",
    ".fi",
    ".RS",
    ".RE",
    ".br",
  ]);
  for (const line of page.split("\n")) {
    if (/^[.']/.test(line)) assert(requests.has(line.split(" ")[0]!), line);
  }
});
