/** A configuration to begin with. @module */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { runProgram } from "../../src/commands/program.ts";

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "", err = "";
  const terminal = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    isInteractive: false,
  };
  return { code: await runProgram(args, terminal), out, err };
}

Deno.test("a configuration that init writes is valid, and never overwrites another", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${dir}/depot`);
    for (const type of ["s3", "azure", "gcs"]) {
      const file = `${dir}/${type}.json`;
      const init = await run("config", "init", "--depot", `${dir}/depot`, "--type", type, file);
      assertEquals([init.code, init.err], [0, ""]);
      assertEquals(Deno.statSync(file).mode! & 0o777, 0o640);
      assertEquals((await run("config", "check", "--config", file)).err, "");
      const checked = await run("--config", file, "--check-config");
      assertEquals([checked.code, checked.out], [0, "Configuration is valid\n"]);
      const again = await run("config", "init", file);
      assertEquals(again.code, 2);
      assertMatch(again.err, /^p4-cache: Cannot write .*: it exists; .*\n$/);
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("--check-config refuses what the daemon would refuse, and starts nothing", async () => {
  const { code, out, err } = await run("--depot-path", "/nowhere/at/all", "--check-config");
  assertEquals([code, out], [2, ""]);
  assertStringIncludes(err, "/nowhere/at/all");
});

Deno.test("a mistyped sub-command or value is answered with what was probably meant", async () => {
  assertStringIncludes((await run("config", "chek")).err, "did you mean check?");
  assertStringIncludes((await run("access", "tpo")).err, "did you mean top?");
  assertStringIncludes((await run("completion", "basch")).err, "allowed is bash, zsh or fish");
});
