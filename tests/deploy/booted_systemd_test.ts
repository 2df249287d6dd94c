/**
 * The installed units under a real systemd: readiness, status, reload, watchdog, stop, what p4d writes
 * outside of the unit's namespace, several depots, the pid file variant, a failed upgrade.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { mayWatch, TempDir, until } from "../e2e/daemon_process.ts";
import { makeRelease, ReleaseServer, scriptRelease, VERSION } from "../install/release_folder.ts";
import { BootedSystemd, whyNoSystemd } from "./booted_systemd.ts";

const why = mayWatch() ? whyNoSystemd() : "it needs CAP_SYS_ADMIN";
if (why !== null) console.log(`the units under a real systemd are skipped: ${why}`);

const CONFIG = "/etc/p4-cache/config.json", UNIT = "p4-cache.service";

Deno.test("under a real systemd the installed units do what they say", {
  ignore: why !== null,
}, async (t) => {
  const release = await makeRelease();
  using dir = new TempDir("/srv");
  Deno.chmodSync(dir.path, 0o755);
  await using server = new ReleaseServer(`${dir.path}/releases`);
  Deno.mkdirSync(`${dir.path}/releases`);
  Deno.symlinkSync(release, `${dir.path}/releases/v${VERSION}`);
  await scriptRelease(release, `${dir.path}/releases`, "0.9.9", "#!/bin/sh\nexit 1\n");
  await using system = await BootedSystemd.boot([dir.path]);

  /** Each builds on what the one before left. */
  const step = async (promise: string, fn: () => Promise<void>) => {
    if (!await t.step(promise, fn)) throw new Error(`not so: ${promise}`);
  };
  const sites = ["main", "projects", "more", "replica"].map((name) => `${dir.path}/${name}`);
  const [main, projects, more, replica] = sites as [string, string, string, string];
  const settings = (site: string, more = {}) =>
    JSON.stringify({
      depot_path: `${site}/depot`,
      primary: { type: "nfs", path: `${site}/store` },
      ...more,
    });
  /** As p4d does: outside of every namespace that systemd made. */
  const writeOutside = async (site: string, name: string) => {
    Deno.writeTextFileSync(`${site}/depot/${name}`, name);
    await until(`${name} is uploaded`, () => {
      try {
        return Deno.readTextFileSync(`${site}/store/${name}`) === name;
      } catch {
        return false;
      }
    });
  };
  const statusText = () => system.property(UNIT, "StatusText");
  const install = (version: string) =>
    system.run(
      ...["env", `P4CACHE_BASE_URL=${server.url}`, `P4CACHE_VERSION=${version}`],
      ...["HEALTH_TIMEOUT=20", "sh", "-c", 'sh -s -- --yes < "$0"', `/outside-${version}`],
    );
  for (const version of [VERSION, "0.9.9"]) {
    await system.write(`/outside-${version}`, Deno.readTextFileSync(`${release}/install.sh`));
  }

  await step(
    "the installer makes all but the settings, and says what is left to do",
    async () => {
      const { code, stdout, stderr } = await install(VERSION);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, "create the system user perforce");
      assertStringIncludes(stdout, "Not started yet: ");
      assertStringIncludes(stdout, "systemctl enable --now p4-cache");
      for (const site of sites) {
        await system.must("install", "-d", "-o", "perforce", `${site}/depot`, `${site}/store`);
      }
    },
  );

  await step("the service counts as started when the daemon serves", async () => {
    await system.write(CONFIG, settings(main));
    await system.must("systemctl", "enable", "--now", UNIT);
    assertEquals(await system.property(UNIT, "ActiveState"), "active");
    assertMatch(await statusText(), /^Serving 0 files, 0 dirty/);
    const pid = await system.property(UNIT, "MainPID");
    assertEquals(await system.must("cat", `/proc/${pid}/comm`), "p4-cache\n");
    assertEquals((await system.must("stat", "-c", "%U", `/proc/${pid}`)).trim(), "perforce");
  });

  await step("every command finds the depot of /etc/p4-cache by itself", async () => {
    for (const line of ["status", "config check", "lease", "backup", "backup list", "doctor"]) {
      await system.must("p4-cache", ...line.split(" "));
    }
    const other = await system.run("setpriv", "--reuid=65534", "--clear-groups", "p4-cache", "ls");
    assertEquals(other.code, 2);
    assertStringIncludes(other.stderr, `Cannot read ${CONFIG}: permission denied for uid 65534`);
  });

  await step("what p4d writes outside of the unit's namespace is uploaded", async () => {
    await writeOutside(main, "a.c,v");
    // The unit cannot write where it need not.
    const pid = await system.property(UNIT, "MainPID");
    const mounts = await system.must("cat", `/proc/${pid}/mounts`);
    assertMatch(mounts, / \/usr \S+ ro,/);
  });

  await step("a p4d with the drop-in reads what was evicted", async () => {
    const p4d = "/etc/systemd/system/p4d.service";
    await system.write(
      p4d,
      `[Service]\nType=oneshot\nUser=perforce\nExecStart=cat ${main}/depot/a.c,v\n`,
    );
    const dropIn = await system.must("cat", "/usr/local/share/doc/p4-cache/p4d-p4cache.conf");
    await system.write(
      `${p4d}.d/p4cache.conf`,
      dropIn.replace("/mnt/nvme/depot", `${main}/depot`),
    );
    await system.must("systemctl", "daemon-reload");
    assertStringIncludes(await system.property("p4d.service", "After"), UNIT);
    await system.must("p4-cache", "evict", "a.c,v", "--config", CONFIG);
    assertEquals((await system.run("ls", `${main}/depot`)).stdout, "");
    await system.must("systemctl", "start", "p4d.service");
    assertStringIncludes(await system.journal("p4d.service"), "a.c,v");
    assertEquals(Deno.readTextFileSync(`${main}/depot/a.c,v`), "a.c,v");
  });

  await step("systemd is told how a reload ended; a wrong configuration is refused", async () => {
    const pid = await system.property(UNIT, "MainPID");
    const reload = async (text: string, answer: RegExp) => {
      await system.write(CONFIG, text);
      await system.must("systemctl", "reload", UNIT);
      await until(`${answer} is told`, async () => answer.test(await statusText()));
    };
    await reload(
      settings(main, { max_cache_gb: 7, low_watermark_gb: 5 }),
      /^Configuration reloaded: .*max_cache/,
    );
    await reload(settings(main, { max_cache_gb: "much" }), /^Configuration not reloaded/);
    await reload(settings(main), /^Configuration reloaded: .*max_cache/);
    assertEquals(await system.property(UNIT, "ActiveState"), "active");
    assertEquals(await system.property(UNIT, "MainPID"), pid);
    await writeOutside(main, "after-reload.c,v");
  });

  await step("a daemon that hangs is ended by the watchdog, and started again", async () => {
    await system.write(
      `/etc/systemd/system/${UNIT}.d/test.conf`,
      "[Service]\nWatchdogSec=3\nRestartSec=0\n",
    );
    await system.must("systemctl", "daemon-reload");
    await system.must("systemctl", "restart", UNIT);
    const pid = await system.property(UNIT, "MainPID");
    await system.must("kill", "-STOP", pid);
    await until(
      "it was started again",
      async () =>
        await system.property(UNIT, "NRestarts") === "1" && /^Serving/.test(await statusText()),
    );
    assertStringIncludes(await system.journal(UNIT), "Watchdog timeout");
    await writeOutside(main, "after-watchdog.c,v");
  });

  await step("one daemon for each of several depots", async () => {
    await system.write("/etc/p4-cache/projects.json", settings(projects));
    await system.must("systemctl", "start", "p4-cache@projects");
    await writeOutside(projects, "b.c,v");
    await writeOutside(main, "c.c,v");
    await system.must("systemctl", "stop", "p4-cache@projects");
  });

  await step("one service for the daemons of several depots", async () => {
    const unit = "p4-cache-depots.service", dir = "/etc/p4-cache/depots.d";
    await system.must("mkdir", dir);
    await system.write(`${dir}/projects.json`, settings(projects));
    await system.write(`${dir}/wrong.json`, settings(more, { read_onyl: true }));
    await system.must("systemctl", "start", unit);
    const told = () => system.property(unit, "StatusText");
    assertEquals(await told(), "2 depots: 1 serving, 1 failed (wrong)");
    await writeOutside(projects, "d.c,v");
    await system.must("mv", `${dir}/wrong.json`, `${dir}/more.json`);
    await system.write(`${dir}/more.json`, settings(more));
    await system.must("systemctl", "reload", unit);
    await writeOutside(more, "e.c,v");
    const all = await system.must("p4-cache", "status", "--all");
    assertMatch(all, /^more +healthy, 1 file,.*\nprojects +healthy/);
    const one = await system.must("p4-cache", "status", "--depot", "more");
    assertStringIncludes(one, `${more}/depot (read-write)`);
    const { stdout } = await system.run("p4-cache", "doctor", "--depot-path", `${more}/depot`);
    assertStringIncludes(stdout, `configuration: ${dir}/more.json is valid`);
    await system.must("systemctl", "stop", unit);
    assertEquals(await system.property(unit, "Result"), "success");
    assert(!(await system.journal(unit)).includes("SIGKILL"));
    await system.must("rm", "-r", dir);
  });

  await step("an upgrade that does not start is taken back", async () => {
    const { code, stderr } = await install("0.9.9");
    assertEquals(code, 3, stderr);
    assertStringIncludes(stderr, "Rolled back to the previous program");
    await until("it serves", async () => /^Serving/.test(await statusText()));
    const status = await system.must("p4-cache", "status", "--json", "--config", CONFIG);
    assertEquals(JSON.parse(status).version, VERSION);
  });

  await step("a stop leaves nothing dirty, and counts as success", async () => {
    await system.must("systemctl", "stop", UNIT);
    assertEquals(await system.property(UNIT, "Result"), "success");
    assertMatch(await system.journal(UNIT), /Stopped; every file is uploaded/);
  });

  await step(
    "the guide's unit of Type=forking runs with its pid file, again and again",
    async () => {
      const forking = "p4-cache-forking.service";
      await system.must("cp", `/usr/local/share/doc/p4-cache/${forking}`, "/etc/systemd/system/");
      await system.must("systemctl", "daemon-reload");
      await system.must("systemctl", "start", forking);
      // A stop takes the pid file away: systemd removes it.
      await system.must("systemctl", "restart", forking);
      assertEquals(await system.property(forking, "ActiveState"), "active");
      const pid = await system.must("cat", "/var/run/p4-cache.pid");
      assertEquals(await system.property(forking, "MainPID"), pid.trim());
      await writeOutside(main, "forked.c,v");
      await system.must("systemctl", "stop", forking);
      assertEquals(await system.property(forking, "Result"), "success");
      assertStringIncludes(await system.must("cat", "/var/log/p4-cache.log"), "Stopped");
    },
  );

  await step("a replica serves without any capability", async () => {
    Deno.writeTextFileSync(`${replica}/store/r.c,v`, "from storage");
    Deno.chmodSync(`${replica}/store/r.c,v`, 0o644);
    await system.must("setcap", "-r", "/usr/local/bin/p4-cache");
    await system.write(
      `/etc/systemd/system/${UNIT}`,
      Deno.readTextFileSync(`${release}/p4-cache-replica.service`),
    );
    await system.write(CONFIG, settings(replica, { read_only: true }));
    await system.must("systemctl", "daemon-reload");
    await system.must("systemctl", "start", UNIT);
    const pid = await system.property(UNIT, "MainPID");
    assertMatch(await system.must("cat", `/proc/${pid}/status`), /^CapBnd:\s+0+$/m);
    await system.must("p4-cache", "restore", "r.c,v", "--config", CONFIG);
    assertEquals(Deno.readTextFileSync(`${replica}/depot/r.c,v`), "from storage");
  });

  await step("the uninstaller stops what runs, and leaves the depots", async () => {
    // Nobody else can tell whether its files are uploaded.
    await system.must("systemctl", "start", "p4-cache@projects");
    const uninstall = await system.run(
      "sh",
      `/outside-${VERSION}`,
      "--uninstall",
      "--purge",
      "--yes",
    );
    assertEquals(uninstall.code, 0, uninstall.stderr);
    const left = await system.run("systemctl", "list-units", "--no-legend", "p4-cache*");
    assert(!left.stdout.includes("running"), left.stdout);
    assertEquals((await system.run("ls", "/usr/local/bin/p4-cache", "/etc/p4-cache")).stdout, "");
    assertEquals(Deno.readTextFileSync(`${replica}/depot/r.c,v`), "from storage");
  });
});
