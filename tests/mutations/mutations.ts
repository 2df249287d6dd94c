/**
 * `deno task mutations [--only TEXT]`: breaks each promise in a copy of the project and runs the test that
 * keeps it, which has to fail there, and to pass in a copy that is whole. Writes the table into
 * docs/explanation/mutations.md.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { parseArgs } from "deno-std/cli/parse_args.js";
import { BROKEN_PROMISES, type BrokenPromise } from "./broken_promises.ts";
import { copyProject, plant, writeTable } from "./planting.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = `${ROOT}docs/explanation/mutations.md`;
const MARKS = ["<!-- written by deno task mutations -->", "<!-- end -->"] as const;

/** What tests load or start. */
const BUILT = ["libp4helper.so", "libp4shim.so", "p4-cache", "bundled.json"];

/** A test that hangs has failed too, s. */
const LONGEST_TEST_S = 300;

const { only } = parseArgs(Deno.args, { string: ["only"] });

async function run(
  dir: string,
  command: string,
  args: string[],
): Promise<{ ok: boolean; text: string }> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd: dir,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { ok: success, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** Makes what the tests of the broken promises load or start. */
async function build(dir: string, what: BrokenPromise["builds"]): Promise<void> {
  const { ok, text } = what === "binary"
    ? await run(dir, Deno.execPath(), ["run", "-A", "src/build/build.ts"])
    : await run(dir, "make", ["--quiet", "-C", "shim", "all"]);
  if (!ok) throw new Error(`Cannot build the copy: ${text}`);
}

async function test(
  dir: string,
  { test, name }: BrokenPromise,
): Promise<{ ok: boolean; text: string }> {
  const deno = ["test", "-A", "--no-check", `--filter=${name}`, test];
  const { ok, text } = await run(dir, "timeout", [`${LONGEST_TEST_S}`, Deno.execPath(), ...deno]);
  if (ok && !/[1-9]\d* passed/.test(text)) {
    throw new Error(`There is no test '${name}' in ${test}, or it was skipped`);
  }
  // A program that does not even begin is no broken promise.
  const unable = /Failed to spawn.*|Cannot find lib\w+.*/.exec(text) ??
    (/\.\.\. FAILED \(/.test(text) ? null : /\(uncaught error\)/.exec(text));
  if (unable !== null) throw new Error(`Cannot run ${test}: ${unable[0]}`);
  return { ok, text };
}

/** Whether the test fails where the promise is broken. */
async function isNoticed(broken: BrokenPromise, whole: string): Promise<boolean> {
  const dir = Deno.makeTempDirSync({ prefix: "mutation" });
  try {
    copyProject(dir);
    plant(broken.what, broken.edits, dir);
    const isOfC = broken.edits.some(({ file }) => file.startsWith("shim/"));
    if (broken.builds === "binary" || isOfC) await build(dir, broken.builds);
    for (const name of BUILT) {
      const made = `${dir}/build/${name}`;
      if (!existsSync(made)) Deno.copyFileSync(`${whole}/build/${name}`, made);
    }
    return !(await test(dir, broken)).ok;
  } finally {
    await run("/", "rm", ["-rf", dir]);
  }
}

const chosen = BROKEN_PROMISES.filter(({ promise, what }) =>
  `${promise}: ${what}`.includes(only ?? "")
);
const whole = Deno.makeTempDirSync({ prefix: "mutation" });
let missed = 0;
try {
  copyProject(whole);
  await build(whole, "binary");
  for (const broken of chosen) {
    const holds = (await test(whole, broken)).ok;
    const noticed = holds && await isNoticed(broken, whole);
    if (!noticed) missed++;
    const how = noticed ? "noticed" : holds ? "MISSED " : "FAILS WITHOUT IT";
    console.log(`${how}  ${broken.promise}  ${broken.what}`);
  }
} finally {
  await run("/", "rm", ["-rf", whole]);
}
console.log(`${chosen.length - missed} of ${chosen.length} noticed`);
if (missed > 0) Deno.exit(1);
if (only === undefined) {
  const rows = BROKEN_PROMISES.map((
    { promise, what, test, name },
  ) => [promise, what, `\`${test}\``, name]);
  writeTable(PAGE, MARKS, ["promise", "what was broken", "test that fails then", "its name"], rows);
}
