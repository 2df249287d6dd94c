/**
 * The helper library under the compiler's sanitizers: the tests that reach it, each access checked.
 *
 * They run in a copy of the sources beside a helper built so. The preload library has a test of its own
 * (`tests/shim/sanitizers_test.ts`). ThreadSanitizer is of no use here: it does not know the runtime's own
 * locks, and takes each hand-over between its threads for a race.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { mayWatch, run, TempDir } from "../e2e/daemon_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What reaches the files of `shim/helper/`, but for the storage directory. */
const TESTS = ["ffi", "manifest", "cache/engine_test.ts", "access"];

if (!mayWatch()) console.log("the sanitized helper is skipped: its tests need CAP_SYS_ADMIN");

Deno.test({
  name: "the helper library is clean of wrong addresses and undefined behaviour",
  ignore: !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const build = `${dir.path}/build`;
    const made = await run("make", ["--quiet", "-C", `${ROOT}shim`, "sanitize", `OUT=${build}`]);
    assertEquals(made.code, 0, made.stderr);
    const symbols = await run("nm", ["-D", `${build}/libp4helper.so`]);
    assert(symbols.stdout.includes("__asan_init"));
    const sources = ["src", "ffi", "tests", "shim", "deno.json", "deno.lock"];
    const copied = await run("cp", ["-r", ...sources.map((name) => ROOT + name), dir.path]);
    assertEquals(copied.code, 0, copied.stderr);
    Deno.symlinkSync(`${ROOT}node_modules`, `${dir.path}/node_modules`);
    const runtime = (await run("gcc", ["-print-file-name=libasan.so"])).stdout.trim();
    const paths = TESTS.map((name) => `tests/${name}`);
    // The address space must be as the sanitizer expects it; its signals are the runtime's.
    const { code, stdout, stderr } = await run(
      "setarch",
      ["-R", Deno.execPath(), "test", "-A", "--no-check", ...paths],
      {
        cwd: dir.path,
        env: {
          LD_PRELOAD: runtime,
          ASAN_OPTIONS: "detect_leaks=0:handle_segv=0:allow_user_segv_handler=1",
          UBSAN_OPTIONS: "print_stacktrace=1",
          NO_COLOR: "1",
        },
      },
    );
    assertEquals(code, 0, stdout.slice(-4000) + stderr.slice(-4000));
  },
});
