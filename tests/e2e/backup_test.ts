/**
 * Backups are made while the daemon runs; an old manifest that is put back loses nothing, and serves
 * nothing wrongly.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { Backup } from "../../src/backup/backup_set.ts";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  makePlaces,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of backups are skipped: they need CAP_SYS_ADMIN");

Deno.test({
  name: "a backup is whole, names no secret, and can be kept in any directory",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    const other = `${dir.path}/other`;
    Deno.writeTextFileSync(`${depot}/file`, "content");
    await using daemon = await DaemonProcess.start(depot, storage);
    const asked = (...args: string[]) => run(BINARY, [...args, "--depot-path", depot]);
    const read = (...args: string[]) => run(BINARY, [...args, "--depot-path", depot, ...storage]);
    assertEquals((await asked("flush", "--wait")).code, 0);
    const none = await read("backup", "list");
    assertEquals(none.code, 1);
    assertMatch(
      none.stderr,
      /^p4-cache: Cannot find a backup: .* 'p4-cache backup' makes the first one\n$/,
    );
    const made = await asked("backup", "--compact", "--json");
    assertEquals(made.code, 0, made.stderr);
    const { name, info } = JSON.parse(made.stdout) as Backup;
    assertEquals([info.tracked, info.compact], [1, true]);
    const place = `${store}/.p4cache/backups/${name}`;
    for (const { name, sha256 } of info.files) {
      const sum = await run("sha256sum", [`${place}/${name}`]);
      assertEquals(sum.stdout.split(" ")[0], sha256);
    }
    if (hasProgram("mdb_dump")) {
      const dump = await run("mdb_stat", ["-n", "-s", "files", `${place}/manifest.mdb`]);
      assertMatch(dump.stdout, /Entries: 1\n/);
    }
    assertMatch(await daemon.fetch(`.p4cache/backups/${name}/backup.json`), /^ERROR /);
    assertEquals((await asked("ls")).stdout, "file\n", "backups are no files of the depot");
    assertEquals((await asked("verify")).code, 0);
    assertEquals((await read("backup", "verify")).code, 0);
    const list = await read("backup", "list");
    assertMatch(list.stdout, new RegExp(`^${name}  .*, 1 file tracked, .* ago\n$`));

    const elsewhere = await asked("backup", "--to", other, "--json");
    const second = JSON.parse(elsewhere.stdout) as Backup;
    assertEquals((await read("backup", "verify", "--from", other)).code, 0);
    Deno.writeTextFileSync(`${other}/${second.name}/config.json`, "{}");
    const damaged = await read("backup", "verify", "--from", other);
    assertEquals(damaged.code, 1);
    assertMatch(damaged.stderr, /config\.json in .* is not what backup\.json describes/);
    assertEquals((await asked("backup", "--to", "ftp://nowhere")).code, 1);
    assertEquals(
      [...Deno.readDirSync(`${depot}/.p4cache`)].some((e) => e.name === "backup"),
      false,
    );
  },
});

Deno.test({
  name:
    "an old manifest that is put back loses nothing that was done since, and serves nothing old",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    const asked = async (...args: string[]) => {
      const { code, stdout, stderr } = await run(BINARY, [...args, "--depot-path", depot]);
      assertEquals(code, 0, stderr);
      return stdout;
    };
    const restore = (...args: string[]) =>
      run(BINARY, ["restore-manifest", ...args, "--depot-path", depot, ...storage]);
    const write = (name: string, text: string) => {
      const slash = name.lastIndexOf("/");
      if (slash > 0) Deno.mkdirSync(`${depot}/${name.slice(0, slash)}`, { recursive: true });
      Deno.writeTextFileSync(`${depot}/${name}`, text);
    };
    for (const name of ["same", "ticked", "evicted", "reborn", "dead", "z/a", "x/a"]) {
      write(name, `${name} 1`);
    }
    {
      await using daemon = await DaemonProcess.start(depot, storage);
      await asked("flush", "--wait");
      await asked("evict", "x/a", "z/a");
      for (const name of ["reborn", "dead"]) {
        Deno.removeSync(`${depot}/${name}`);
        await until(`${name} is gone`, async () => await daemon.fetch(name) === "NOTFOUND");
      }
      Deno.removeSync(`${store}/dead`);
      await asked("backup");
      // Since then: written anew and evicted; evicted; a new directory under the name of one that moved.
      write("reborn", "reborn 2");
      write("new", "new 2");
      Deno.renameSync(`${depot}/z`, `${depot}/w`);
      await until(
        "z/a is w/a in storage",
        () => Deno.readTextFile(`${store}/w/a`).then(() => true, () => false),
      );
      write("z/a", "z/a 2");
      await asked("flush", "--wait");
      await asked("evict", "reborn", "evicted", "z/a");
      const refused = await restore();
      assertEquals(refused.code, 1);
      assertMatch(refused.stderr, /another p4-cache daemon \(pid \d+\) serves this depot/);
      await daemon.kill();
    }
    // Nobody watches: rewritten with size and times put back; a directory renamed; an eviction cut off.
    await run("sh", [
      "-c",
      'touch -r "$1" "$1.t"; printf "ticked 2" 1<>"$1"; touch -r "$1.t" "$1"; rm "$1.t"',
      "-",
      `${depot}/ticked`,
    ]);
    Deno.renameSync(`${depot}/x`, `${depot}/y`);
    Deno.writeTextFileSync(`${depot}/.p4cache/trash/1`, "from the trash");
    const readable = await restore();
    assertEquals(readable.code, 1);
    assertMatch(readable.stderr, /can be read, and knows more than one of old; --force/);
    Deno.writeTextFileSync(`${depot}/.p4cache/manifest/data.mdb`, "no LMDB");
    const dry = await restore("--dry-run", "--json");
    assertEquals(dry.code, 0, dry.stderr);
    const { report } = JSON.parse(dry.stdout);
    assertEquals(report.ambiguous, ["z"]);
    assertEquals([report.tombstonesKept, report.tombstonesDropped, report.trash], [1, 1, 1]);
    assertEquals(Deno.readTextFileSync(`${depot}/.p4cache/manifest/data.mdb`), "no LMDB");
    const put = await restore();
    assertEquals(put.code, 0, put.stderr);
    assertMatch(put.stdout, /1 deletion still holds; 1 may be out of date/);
    assertMatch(put.stdout, /kept as .*\/manifest\.replaced-/);

    await using daemon = await DaemonProcess.start(depot, [...storage, "--skip-startup-scan"]);
    await until("the depot was compared", () => daemon.log().includes("Startup scan: "));
    const expected = {
      same: "same 1",
      ticked: "ticked 2",
      evicted: "evicted 1",
      reborn: "reborn 2",
      new: "new 2",
      "z/a": "z/a 2",
      "w/a": "z/a 1",
      "y/a": "x/a 1",
    };
    for (const [name, content] of Object.entries(expected)) {
      assertEquals(await daemon.fetch(name), `OK ${content.length}`, name);
      assertEquals(Deno.readTextFileSync(`${depot}/${name}`), content, name);
    }
    for (const name of ["dead", "x/a"]) assertEquals(await daemon.fetch(name), "NOTFOUND", name);
    await asked("flush", "--wait");
    for (const [name, content] of Object.entries(expected)) {
      assertEquals(Deno.readTextFileSync(`${store}/${name}`), content, name);
    }
    const [kept] = [...Deno.readDirSync(`${depot}/.p4cache/conflicts`)];
    assertEquals(
      Deno.readTextFileSync(`${depot}/.p4cache/conflicts/${kept!.name}`),
      "from the trash",
    );
    // What the scan found waits: an upload of the killed daemon may still come.
    const evict = (name: string) => run(BINARY, ["evict", name, "--depot-path", depot]);
    assertEquals([(await evict("evicted")).code, (await evict("ticked")).code], [0, 1]);
  },
});
