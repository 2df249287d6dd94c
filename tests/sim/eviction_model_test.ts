/** P1: a model of the eviction protocol, in every interleaving. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";

const MODEL = new URL("../../docs/explanation/eviction.pml", import.meta.url).pathname;

/** What is built with which flags, and whether a write can be lost then. */
const VARIANTS = [
  { flags: [], loses: false },
  { flags: ["-DSHIM"], loses: false },
  { flags: ["-DNO_GRACE", "-DSHIM"], loses: false },
  { flags: ["-DNO_GRACE"], loses: true },
  { flags: ["-DNO_LEASE"], loses: true },
  { flags: ["-DNO_LEASE", "-DSHIM"], loses: true },
  { flags: ["-DNO_RECHECK"], loses: true },
  { flags: ["-DNO_VERSION"], loses: true },
];

async function run(dir: string, command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd: dir }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals(code, 0, `${command} ${args.join(" ")}: ${text}`);
  return text;
}

function isMissing(program: string): boolean {
  try {
    new Deno.Command(program, { args: ["-V"], stdout: "null", stderr: "null" }).outputSync();
    return false;
  } catch {
    console.log(`skipped: ${program} is not installed`);
    return true;
  }
}

for (const { flags, loses } of VARIANTS) {
  const name = flags.length === 0 ? "as it is" : `with ${flags.join(" ")}`;
  Deno.test({
    name: `P1: the model of the eviction, ${name}, ${loses ? "loses a write" : "loses no write"}`,
    ignore: isMissing("spin"),
    fn: async () => {
      const dir = await Deno.makeTempDir({ prefix: "model" });
      try {
        await run(dir, "spin", ...flags, "-a", MODEL);
        await run(dir, "cc", "-O1", "-DSAFETY", "-o", "pan", "pan.c");
        const report = await run(dir, "./pan", "-m10000");
        const errors = /errors: (\d+)/.exec(report)?.[1];
        assert(errors !== undefined && !report.includes("max search depth too small"), report);
        assertEquals(errors !== "0", loses, report);
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    },
  });
}
