/** The disk whose power can be cut, beside other programs. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { dirname } from "node:path";
import { run } from "../e2e/daemon_process.ts";
import { CutDisk } from "./cut_disk.ts";
import { SMALL_DISKS } from "./small_disk.ts";

/** A process in a mount namespace of its own, which has a copy of every mount there is now. */
async function copyMounts(): Promise<AsyncDisposable> {
  const args = ["--mount", "sh", "-c", "echo && exec sleep 600"];
  const child = new Deno.Command("unshare", { args, stdout: "piped" }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await reader.cancel();
      await child.status;
    },
  };
}

Deno.test({
  name: "the disk goes though other programs were given copies of its mounts",
  ignore: SMALL_DISKS.length < 2,
  fn: async () => {
    await using copies = new AsyncDisposableStack();
    const disk = await CutDisk.make();
    copies.use(await copyMounts());
    await disk.cut();
    await disk.comeBack();
    copies.use(await copyMounts());
    await disk[Symbol.asyncDispose]();
    const { stdout } = await run("losetup", ["--all"]);
    assertEquals(stdout.includes(dirname(disk.path)), false, stdout);
  },
});
