/**
 * A depot moves to another storage while it is served: interrupted, gone on with, and checked.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of migration are skipped: they need CAP_SYS_ADMIN");

Deno.test({
  name: "a depot moves to another storage while it is served, past an interruption and a crash",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const [depot, older, newer] = ["depot", "older", "newer"].map((name) => `${dir.path}/${name}`);
    for (const path of [depot!, older!, newer!, `${older}/main`]) Deno.mkdirSync(path);
    for (let i = 0; i < 40; i++) {
      Deno.writeTextFileSync(`${older}/main/${i},v`, `${i}`.repeat(50_000));
    }
    const config = `${dir.path}/config.json`;
    const document = {
      depot_path: depot,
      primary: { type: "nfs", path: newer },
      secondary: { type: "nfs", path: older },
    };
    Deno.writeTextFileSync(config, JSON.stringify(document));
    const asked = (...args: string[]) => run(BINARY, [...args, "--depot-path", depot!]);
    const doctor = async () => {
      const { stdout } = await run(BINARY, ["doctor", "--json", "--config", config]);
      const lines = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
      return lines.find(({ check }) => check === "migration")?.level;
    };
    const arrived = () => filesBelow(newer!).size;
    {
      await using daemon = await DaemonProcess.start(depot!, ["--config", config]);
      assertEquals(await doctor(), "SKIP");
      assertEquals((await asked("migrate", "--bandwidth", "fast")).code, 1);
      const dry = await asked("migrate", "--dry-run");
      assertEquals([dry.code, arrived()], [0, 0]);
      assertMatch(
        dry.stdout,
        /^40 objects .*: the primary lacks 40 \(.*\), of deleted files: 0\n$/,
      );
      // Interrupted by the operator, then by a crash of the daemon: slow enough to be in the middle.
      const slow = [
        "migrate",
        "--bandwidth",
        "400KB",
        "--concurrency",
        "2",
        "--depot-path",
        depot!,
      ];
      const command = () =>
        new Deno.Command(BINARY, { args: slow, stdout: "null", stderr: "null" }).spawn();
      const first = command();
      await until("some objects are there", () => arrived() >= 3);
      first.kill("SIGINT");
      await first.status;
      const second = command();
      const before = arrived();
      await until("more objects are there", () => arrived() > before + 2);
      await daemon.kill();
      assertEquals((await second.status).code, 1);
    }
    const copied = arrived();
    assertEquals(copied < 40, true);
    {
      await using daemon = await DaemonProcess.start(depot!, ["--config", config]);
      // Meanwhile people work: one file is written anew, one deleted, one read.
      assertEquals(await daemon.fetch("main/7,v"), "OK 50000");
      Deno.writeTextFileSync(`${depot}/main/39,v`, "newer");
      assertEquals(await daemon.fetch("main/38,v"), "OK 100000");
      Deno.removeSync(`${depot}/main/38,v`);
      await until("38 is gone", async () => await daemon.fetch("main/38,v") === "NOTFOUND");
      await asked("flush", "--wait");
      const wasThere = new Set(filesBelow(newer!).keys());
      const rest = await asked("migrate", "--read-back", "--json");
      assertEquals(rest.code, 0, rest.stdout + rest.stderr);
      const state = JSON.parse(rest.stdout);
      assertEquals([state.left, state.failed, state.copied], [
        0,
        0,
        39 - new Set([
          ...wasThere,
          "main/38,v",
        ]).size + 1,
      ]);
      assertEquals(await doctor(), "OK");
      assertEquals((await asked("verify", "--deep")).code, 0);
      const again = await asked("migrate");
      assertMatch(again.stdout, /lacks 0 .*\n0 copied.*\n.*the secondary can be removed\n$/s);
      await daemon.stop();
    }
    // Without the old storage.
    Deno.removeSync(older!, { recursive: true });
    Deno.writeTextFileSync(config, JSON.stringify({ ...document, secondary: undefined }));
    await using daemon = await DaemonProcess.start(depot!, ["--config", config]);
    assertEquals(await doctor(), undefined);
    for (let i = 0; i < 38; i++) {
      assertEquals(await daemon.fetch(`main/${i},v`), `OK ${`${i}`.length * 50_000}`);
    }
    assertEquals(await daemon.fetch("main/38,v"), "NOTFOUND");
    assertEquals(Deno.readTextFileSync(`${newer}/main/39,v`), "newer");
  },
});
