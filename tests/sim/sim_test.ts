/** A short run of the simulated worlds. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";

const SIM = new URL("./sim.ts", import.meta.url).pathname;

const STEPS = 1_000_000;

async function sim(...args: string[]): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", SIM, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("no promise is broken in a million steps of simulated worlds", async () => {
  const { code, text } = await sim(`--steps=${STEPS}`, "--jobs=2");
  console.log(text.trim());
  assertEquals(code, 0, text);
});

Deno.test("a seed gives the same world again, step by step", async () => {
  const args = ["--steps=1", "--seed=7", "--trace"];
  const runs = [await sim(...args), await sim(...args)];
  const [first, second] = runs.map(({ text }) => text.replace(/; \d+ s$/m, ""));
  assert(first!.split("\n").length > 100, first);
  assertEquals(first, second);
});
