/**
 * The two disasters of the runbooks: the disk is lost and the bucket is intact, and the other way round.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  makePlaces,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of disasters are skipped: they need CAP_SYS_ADMIN");

const FILES = 300;

/** A depot and an archive directory, with the settings of a daemon between them. */
function places(dir: string) {
  const { depot, store } = makePlaces(dir), config = `${dir}/config.json`;
  Deno.writeTextFileSync(
    config,
    JSON.stringify({
      depot_path: depot,
      primary: { type: "nfs", path: store },
      access_flush_interval_secs: 1,
      lease_ttl: 5,
    }),
  );
  const asked = async (...args: string[]) => {
    const { code, stdout, stderr } = await run(BINARY, [...args, "--depot-path", depot]);
    assertEquals(code, 0, stderr);
    return stdout;
  };
  return { depot, store, config, asked };
}

Deno.test({
  name: "the disk is lost: a new one serves at once, and is warmed from the backed-up access log",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, config, asked } = places(dir.path);
    Deno.mkdirSync(`${depot}/main`);
    for (let i = 0; i < 20; i++) Deno.writeTextFileSync(`${depot}/main/${i},v`, `content ${i}`);
    Deno.mkdirSync(`${depot}/main/gone`);
    Deno.writeTextFileSync(`${depot}/main/gone/file,v`, "deleted");
    {
      await using daemon = await DaemonProcess.start(depot, ["--config", config]);
      await asked("flush", "--wait");
      const hot = [3, 5, 8].map((i) => `${depot}/main/${i},v`);
      await run("cat", hot, { env: shimEnv(depot) });
      await until("the accesses are written", async () => {
        const { stdout } = await run(BINARY, ["access", "count", "--depot-path", depot]);
        return stdout.trim() === "3";
      });
      await asked("backup", "--compact");
      await daemon.kill();
    }
    // A new machine, with the same configuration and an empty disk.
    Deno.removeSync(depot, { recursive: true });
    Deno.mkdirSync(depot);
    const NOBODY = 65_534;
    if (Deno.uid() === 0) Deno.chownSync(depot, NOBODY, NOBODY);
    const put = await run(BINARY, ["restore-manifest", "--config", config]);
    assertEquals(put.code, 0, put.stderr);
    assertMatch(put.stdout, /21 files not here.*\n.*\n.*\nThe access log came with it\n$/s);
    for (const name of ["manifest/data.mdb", "access/data.mdb", "daemon.lock", "trash", ""]) {
      const { uid } = Deno.statSync(`${depot}/.p4cache/${name}`);
      assertEquals(uid, Deno.statSync(depot).uid, `the daemon's user can use ${name}`);
    }
    await using daemon = await DaemonProcess.start(depot, ["--config", config]);
    assertEquals(await daemon.fetch("main/11,v"), "OK 10", "restored when it is asked for");
    await until("the depot was compared", () => daemon.log().includes("Startup scan: "));
    await asked("prefetch", "--hot", "1MB");
    assertEquals(
      [...filesBelow(depot).keys()].sort(),
      ["main/11,v", "main/3,v", "main/5,v", "main/8,v"],
    );
    await asked("flush", "--wait");
    await asked("verify", "--deep");
  },
});

Deno.test({
  name: "the bucket is lost: everything on the disk is uploaded again, past a crash of the daemon",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, config, asked } = places(dir.path);
    Deno.mkdirSync(`${depot}/main`);
    for (let i = 0; i < FILES; i++) Deno.writeTextFileSync(`${depot}/main/${i},v`, `content ${i}`);
    const wanted = filesBelow(depot);
    {
      await using daemon = await DaemonProcess.start(depot, ["--config", config]);
      await asked("flush", "--wait");
      for (const { name } of Deno.readDirSync(store)) {
        if (!name.startsWith(".")) Deno.removeSync(`${store}/${name}`, { recursive: true });
      }
      // One came back damaged, one is as it was.
      Deno.mkdirSync(`${store}/main`);
      Deno.writeTextFileSync(`${store}/main/7,v`, "other");
      const dry = JSON.parse(await asked("reupload", "--dry-run", "--json"));
      assertEquals([dry.files, dry.lacking], [FILES, FILES]);
      assertEquals(filesBelow(store).size, 1);
      const queued = JSON.parse(await asked("reupload", "--json"));
      assertEquals(queued.lacking, FILES);
      await until("some are there", () => filesBelow(store).size > 10);
      await daemon.kill();
    }
    await using daemon = await DaemonProcess.start(depot, ["--config", config]);
    // Made again after the crash: what is there is not sent once more.
    const again = JSON.parse(await asked("reupload", "--json"));
    assertEquals([again.files, again.lacking], [FILES, 0]);
    await asked("flush", "--wait");
    assertEquals(filesBelow(store), wanted);
    assertMatch(
      await asked("verify", "--deep"),
      new RegExp(`^${FILES} files compared.* 0 findings`),
    );
    assertEquals(JSON.parse(await asked("status", "--json")).drained, null);
    assertEquals(daemon.log().includes("missing"), false);
  },
});
