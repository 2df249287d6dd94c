/** A short run of the simulated clusters. @module */

import { assertEquals } from "deno-std/assert/mod.js";

const HOSTS = new URL("./hosts.ts", import.meta.url).pathname;

const CLUSTERS = 12;

Deno.test("F1–F3: daemons that take turns, and twenty replicas, keep their promises in every cluster", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", HOSTS, `--clusters=${CLUSTERS}`],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  console.log(text.trim());
  assertEquals(code, 0, text);
});
