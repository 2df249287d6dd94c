/**
 * `p4-cache verify` finds what was changed behind the daemon's back, and nothing else.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { VerifyFinding } from "../../src/admin/verify.ts";
import { BINARY, DaemonProcess, makePlaces, mayWatch, run, TempDir } from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of verify are skipped: they need CAP_SYS_ADMIN");

Deno.test({
  name: "every kind of difference is found once, and what is as it should be is not",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    for (const name of ["fine", "lost", "other", "evicted", "rotten_far"]) {
      Deno.writeTextFileSync(`${depot}/${name}`, "0123456789");
    }
    await using _daemon = await DaemonProcess.start(depot, storage);
    const p4cache = (...args: string[]) => run(BINARY, [...args, "--depot-path", depot]);
    assertEquals((await p4cache("flush", "--wait")).code, 0);
    assertEquals((await p4cache("evict", "evicted", "rotten_far")).code, 0);
    const clean = await p4cache("verify", "--deep");
    assertEquals(clean.code, 0, clean.stdout);
    assertMatch(clean.stdout, /^5 files compared, 5 read \(\d+ B\), 0 findings\n$/);
    // Behind the daemon's back: in the store, and here by a write that puts the times back.
    Deno.removeSync(`${store}/lost`);
    Deno.writeTextFileSync(`${store}/other`, "another");
    const keepTimes = (path: string) =>
      run("sh", [
        "-c",
        `touch -r "$1" "$1.times"; printf 9876543210 1<>"$1"; touch -r "$1.times" "$1"; rm "$1.times"`,
        "-",
        path,
      ]);
    await keepTimes(`${store}/rotten_far`);
    const findings = async (...args: string[]) => {
      const { code, stdout } = await p4cache("verify", "--json", ...args);
      const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
      const found = lines.slice(0, -1) as VerifyFinding[];
      assertEquals([code, lines.at(-1).findings], [found.length > 0 ? 1 : 0, found.length]);
      return found.map(({ kind, path }) => `${kind} ${path}`);
    };
    const shallow = ["missing_in_storage lost", "other_version other"];
    assertEquals(await findings(), shallow);
    assertEquals(await findings("--deep"), [...shallow, "wrong_content_in_storage rotten_far"]);
    assertEquals(await findings("--deep", "fine"), []);
    assertEquals(await findings("--after", "lost"), ["other_version other"]);
    assertEquals((await p4cache("verify", "--sample", "0")).code, 2);
    const slip = await p4cache("verify", "no/such");
    assertEquals([slip.code, slip.stdout], [1, ""]);
    assertMatch(slip.stderr, /^p4-cache: Cannot find 'no\/such': the depot has no such file/);
  },
});
