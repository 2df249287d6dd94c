/**
 * `p4-cache doctor`, with a daemon and without one.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import type { Finding } from "../../src/doctor/finding.ts";
import {
  BINARY,
  DaemonProcess,
  makePlaces,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of doctor are skipped: they need CAP_SYS_ADMIN");

interface Place {
  readonly depot: string;
  readonly configFile: string;
  /** Findings by what was looked at, and the exit code. */
  doctor(): Promise<{ code: number; of(check: string): Finding[] }>;
}

function doctorTest(name: string, test: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore: noDaemon,
    fn: async () => {
      using dir = new TempDir();
      const { depot, store } = makePlaces(dir.path);
      const configFile = `${dir.path}/config.json`;
      Deno.writeTextFileSync(
        configFile,
        JSON.stringify({
          depot_path: depot,
          primary: { type: "nfs", path: store },
          // Whatever room this machine has, it is enough.
          health_disk_free_percent: 0,
          max_cache_gb: 1,
          low_watermark_gb: 1,
        }),
      );
      const doctor = async () => {
        const { code, stdout } = await run(BINARY, ["doctor", "--config", configFile, "--json"]);
        const findings = stdout.trimEnd().split("\n").map((text) => JSON.parse(text) as Finding);
        return { code, of: (check: string) => findings.filter((each) => each.check === check) };
      };
      await test({ depot, configFile, doctor });
    },
  });
}

const levels = (findings: Finding[]) => findings.map(({ level }) => level);

doctorTest("a depot that is not mounted is one FAIL, not many", async ({ depot, doctor }) => {
  Deno.removeSync(depot);
  const { code, of } = await doctor();
  assertEquals([code, levels(of("depot"))], [1, ["FAIL"]]);
  for (const check of ["watching", "disk", "manifest"]) {
    assertEquals(levels(of(check)), ["SKIP"], check);
  }
});

doctorTest("a depot without a daemon is looked at all the same", async ({ depot, doctor }) => {
  const { of } = await doctor();
  assertEquals(levels(of("configuration")), ["OK"]);
  assertEquals(levels(of("daemon")), ["WARN"]);
  assertStringIncludes(of("daemon")[0]!.what, "it is not running");
  assertEquals(levels(of("capabilities")), ["OK"]);
  assertEquals(levels(of("watching")), ["OK"]);
  assertEquals(levels(of("manifest")), ["SKIP"]);
  assertEquals(levels(of("lease")), ["OK"]);
  assertEquals(levels(of("primary storage")), ["OK"]);
  assertMatch(of("primary storage")[0]!.what, /stored, read and removed an object in \d+ ms$/);
  assertEquals([...Deno.readDirSync(depot)], []);
});

doctorTest("a running daemon is looked into: its state, mounts, databases", async (place) => {
  const { depot, configFile, doctor } = place;
  await using daemon = await DaemonProcess.start(depot, ["--config", configFile]);
  const { of } = await doctor();
  const checks = ["daemon", "watching", "mounts", "permissions", "descriptors", "manifest"];
  for (const check of [...checks, "access log"]) {
    assertEquals([check, ...levels(of(check))], [check, "OK"]);
  }
  assertStringIncludes(of("daemon")[0]!.what, `pid ${daemon.pid}, healthy`);
  const text = (await run(BINARY, ["doctor", "--config", configFile])).stdout;
  assertMatch(text, /^OK {4}configuration: .* is valid\n/);
  assertMatch(text, /\n\d+ FAIL, \d+ WARN, \d+ OK\n$/);
});

doctorTest("a storage that refuses is a FAIL with its reason and a way out", async (place) => {
  const { configFile, doctor } = place;
  const config = JSON.parse(Deno.readTextFileSync(configFile));
  // Nobody can store an object where the directory for it is a file.
  Deno.writeTextFileSync(`${config.primary.path}/.p4cache-probe`, "in the way");
  const { code, of } = await doctor();
  assertEquals([code, ...levels(of("primary storage"))], [1, "FAIL"]);
  assertStringIncludes(of("primary storage")[0]!.fix!, "correct");
});

doctorTest("a p4d without the shim is a FAIL, one with it is not", async ({ depot, doctor }) => {
  const p4d = `${depot}/../p4d`;
  Deno.copyFileSync("/bin/sleep", p4d);
  Deno.chmodSync(p4d, 0o755);
  const start = (env: Record<string, string>) =>
    new Deno.Command(p4d, { args: ["60"], env, stdin: "null" }).spawn();
  const bare = start({}), covered = start(shimEnv(depot));
  try {
    const isUp = (pid: number) => Deno.readTextFileSync(`/proc/${pid}/comm`).trim() === "p4d";
    await until("both run", () => isUp(bare.pid) && isUp(covered.pid));
    const loaded = () => Deno.readTextFileSync(`/proc/${covered.pid}/maps`).includes("libp4shim");
    await until("the library is loaded", loaded);
    const { code, of } = await doctor();
    // Other tests of this machine may run a p4d of their own.
    const about = (pid: number) => of("shim").filter(({ what }) => what.includes(`(pid ${pid})`));
    assertEquals([code, ...levels(about(bare.pid))], [1, "FAIL"]);
    assertEquals(levels(about(covered.pid)), ["OK"]);
  } finally {
    for (const child of [bare, covered]) child.kill("SIGKILL");
    await Promise.all([bare.status, covered.status]);
  }
});

doctorTest("what was put aside is told, with how much it is", async ({ depot, doctor }) => {
  const dir = `${depot}/.p4cache/conflicts`;
  Deno.mkdirSync(dir, { recursive: true });
  assertEquals(levels((await doctor()).of("put aside")), ["OK"]);
  Deno.writeTextFileSync(`${dir}/7-file,v`, "earlier");
  const [finding] = (await doctor()).of("put aside");
  assertEquals(finding!.level, "WARN");
  assertStringIncludes(JSON.stringify(finding), "1 file, 1 MiB");
});
