/** P6: records of the kernel that are not what they say. @module */

import { assertEquals } from "deno-std/assert/mod.js";

const ROOT = new URL("../../", import.meta.url).pathname;

const ROUNDS = 500_000;

Deno.test("no kernel record, however malformed, is read beyond its end", async () => {
  const dir = await Deno.makeTempDir({ prefix: "fuzz" });
  const seed = String(Date.now());
  console.log(`seed ${seed}`);
  try {
    const build = await new Deno.Command("cc", {
      args: [
        ..."-O1 -g -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror".split(" "),
        ..."-fsanitize=address,undefined -fno-sanitize-recover=all".split(" "),
        // The kernel's records are packed tighter than the structures' alignment.
        "-fno-sanitize=alignment",
        ..."-o events tests/fuzz/c/events.c shim/helper/dir_table.c shim/helper/files.c".split(" ")
          .map((arg) => arg === "events" ? `${dir}/events` : arg),
        "-lpthread",
      ],
      cwd: ROOT,
    }).output();
    assertEquals(build.code, 0, new TextDecoder().decode(build.stderr));
    const run = await new Deno.Command(`${dir}/events`, { args: [seed, String(ROUNDS)] }).output();
    assertEquals(run.code, 0, new TextDecoder().decode(run.stderr));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
