/**
 * `deno task fuzz [TARGET …] [--seconds N]`: libFuzzer on the C parts that read bytes from outside, for so
 * long each, with the corpus of earlier runs in build/fuzz/. What breaks one is kept there too.
 *
 * @module
 */

import { parseArgs } from "node:util";

const ROOT = new URL("../../", import.meta.url).pathname;

const FLAGS = [
  ..."-O1 -g -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-bitwise-instead-of-logical".split(
    " ",
  ),
  "-fsanitize=fuzzer,address,undefined",
  "-fno-sanitize-recover=all",
  // The kernel's records are packed tighter than the structures' alignment.
  "-fno-sanitize=alignment",
  "-fvisibility=hidden",
  // By this name gcc says it, and the library reads no further than it is told to.
  "-D__SANITIZE_ADDRESS__",
  '-DP4_VERSION="fuzzed"',
  "-Inode_modules/lmdb/dependencies/lmdb-data-v1/libraries/liblmdb",
];

/** A program of `c/`, and what it is linked with: it has the rest itself. */
export interface FuzzTarget {
  readonly name: string;
  readonly sources: readonly string[];
}

function preloadBut(...own: string[]): string[] {
  return Array.from(Deno.readDirSync(`${ROOT}shim/preload`), ({ name }) => name)
    .filter((name) => name.endsWith(".c") && !own.includes(name))
    .map((name) => `shim/preload/${name}`);
}

export const FUZZ_TARGETS: readonly FuzzTarget[] = [
  { name: "records", sources: ["shim/helper/dir_table.c", "shim/helper/files.c"] },
  { name: "values", sources: [] },
  { name: "answers", sources: preloadBut("client.c", "list.c") },
  { name: "accesses", sources: preloadBut("start.c", "access_log.c") },
];

/** Whether there is a clang with libFuzzer. */
export function hasFuzzer(): boolean {
  try {
    const { code, stdout } = new Deno.Command("clang", {
      args: ["-print-file-name=libclang_rt.fuzzer-x86_64.a"],
    }).outputSync();
    // Of a file that is not there it prints the name alone.
    return code === 0 && new TextDecoder().decode(stdout).startsWith("/");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Builds a target and runs it.
 * @param dir For the program, its corpus and what breaks it.
 * @returns What it said at the end.
 * @throws Error with what it says when an input breaks it.
 */
export async function fuzz(target: FuzzTarget, dir: string, seconds: number): Promise<string> {
  const program = `${dir}/${target.name}`, corpus = `${dir}/${target.name}.corpus`;
  await Deno.mkdir(corpus, { recursive: true });
  const args = [...FLAGS, "-o", program, `tests/fuzz/c/${target.name}.c`, ...target.sources];
  await run("clang", [...args, "-lpthread", "-ldl"]);
  const limits = [`-max_total_time=${seconds}`, "-timeout=10", `-artifact_prefix=${program}.`];
  const said = await run(program, [...limits, corpus]);
  return said.trim().split("\n").at(-1) ?? "";
}

async function run(command: string, args: string[]): Promise<string> {
  const { code, stderr } = await new Deno.Command(command, { args, cwd: ROOT }).output();
  const text = new TextDecoder().decode(stderr);
  if (code !== 0) throw new Error(`${command} ends with ${code}:\n${text.slice(-6000)}`);
  return text;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    options: { seconds: { type: "string", default: "60" } },
    allowPositionals: true,
  });
  for (const target of FUZZ_TARGETS) {
    if (positionals.length > 0 && !positionals.includes(target.name)) continue;
    const said = await fuzz(target, `${ROOT}build/fuzz`, Number(values.seconds));
    console.log(`${target.name}: ${said}`);
  }
}
