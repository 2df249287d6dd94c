/**
 * A running daemon whose configuration changes.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  DaemonProcess,
  filesBelow,
  makePlaces,
  mayWatch,
  TempDir,
  until,
} from "./daemon_process.ts";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of reloading are skipped: they need CAP_SYS_ADMIN");

interface Reloadable {
  readonly daemon: DaemonProcess;
  readonly depot: string;
  readonly store: string;
  /** Writes the configuration with these keys, and makes the daemon read it. */
  reload(keys: Record<string, unknown>): void;
  count(text: string): number;
}

function reloadTest(name: string, test: (place: Reloadable) => Promise<void>): void {
  Deno.test({
    name,
    ignore: noDaemon,
    fn: async () => {
      using dir = new TempDir();
      const { depot, store } = makePlaces(dir.path), configPath = `${dir.path}/config.json`;
      const write = (keys: Record<string, unknown>) =>
        Deno.writeTextFileSync(
          configPath,
          JSON.stringify({ primary: { type: "nfs", path: store }, ...keys }),
        );
      write({});
      await using daemon = await DaemonProcess.start(depot, ["--config", configPath]);
      await test({
        daemon,
        depot,
        store,
        reload: (keys) => {
          write(keys);
          Deno.kill(daemon.pid, "SIGHUP");
        },
        count: (text) => daemon.log().split(text).length - 1,
      });
    },
  });
}

reloadTest(
  "a lower watermark, excludes and levels are in force without a restart",
  async (place) => {
    const { depot, store, daemon, reload, count } = place;
    for (let i = 0; i < 4; i++) Deno.writeFileSync(`${depot}/f${i}`, new Uint8Array(1000));
    await until("all is stored", () => filesBelow(store).size === 4);
    reload({ low_watermark_bytes: 1000, exclude: ["*.skip"], log_level: "debug" });
    await until(
      "it says so",
      () => count("Configuration reloaded: exclude, low_watermark_gb, log_level") === 1,
    );
    await until("files are evicted", () => filesBelow(depot).size === 0);
    Deno.writeTextFileSync(`${depot}/a.skip`, "1");
    Deno.writeTextFileSync(`${depot}/b`, "2");
    await until("only the other is stored", () => filesBelow(store).has("b"));
    assertEquals(filesBelow(store).has("a.skip"), false);
    reload({ low_watermark_bytes: 1000 });
    await until(
      "the file that is excluded no longer is stored",
      () => filesBelow(store).has("a.skip"),
    );
    assertEquals(await daemon.stop(), 0);
  },
);

reloadTest(
  "a wrong configuration changes nothing, and the log says what is wrong",
  async (place) => {
    const { depot, store, reload, count, daemon } = place;
    reload({ low_watermark_bytes: 1000, upload_concurency: 3 });
    await until("it is refused", () => count("Configuration not reloaded") === 1);
    assertStringIncludes(daemon.log(), "did you mean upload_concurrency?");
    Deno.writeFileSync(`${depot}/a`, new Uint8Array(5000));
    await until("it is stored", () => filesBelow(store).size === 1);
    // The watermark is looked at twice a second; three looks show that the old one is in force.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assertEquals(filesBelow(depot).size, 1);
    reload({ socket_mode: "0600" });
    await until(
      "the setting that has to wait is named",
      () => count("only in force after a restart: socket_mode") === 1,
    );
  },
);

reloadTest("a restore under way is not dropped by a reload", async (place) => {
  const { depot, store, reload, daemon, count } = place;
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const whole = new Uint8Array(64 * bytes.length);
  for (let at = 0; at < whole.length; at += bytes.length) whole.set(bytes, at);
  Deno.writeFileSync(`${store}/large`, whole);
  // 4 MiB at 2 MiB a second: it is still under way when the limit goes.
  reload({ download_bandwidth: "2MB" });
  await until("the limit is in force", () => count("Configuration reloaded: download_band") === 1);
  const answer = daemon.fetch("large");
  reload({ restore_threads: 1 });
  assertEquals(await answer, `OK ${whole.length}`);
  assertEquals(Deno.readFileSync(`${depot}/large`), whole);
});

reloadTest("SIGUSR1 follows a rotated log, SIGUSR2 writes the state to it", async ({ daemon }) => {
  Deno.renameSync(daemon.logPath, `${daemon.logPath}.1`);
  Deno.kill(daemon.pid, "SIGUSR1");
  await until("the log is there again", () => {
    try {
      return Deno.statSync(daemon.logPath).isFile;
    } catch {
      return false;
    }
  });
  Deno.kill(daemon.pid, "SIGUSR2");
  await until("the state is written", () => daemon.log().includes("INFO daemon: State: {"));
  assertEquals(JSON.parse(/State: (.*)\n/.exec(daemon.log())![1]!).pid, daemon.pid);
});

const noS3 = noDaemon || versitygwBinary() === null;
if (noS3) console.log("a test of new credentials is skipped: it needs CAP_SYS_ADMIN and versitygw");

Deno.test({
  name: "credentials are tried before they are used: wrong ones change nothing, new ones are taken",
  ignore: noS3,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`, file = `${dir.path}/config.json`;
    Deno.mkdirSync(depot);
    const server = await startVersitygw(versitygwBinary()!);
    try {
      const { accessKey, secretKey, bucket, region, endpoint } = server.config();
      const write = (keys: Record<string, unknown>) => {
        const place = { type: "s3", bucket, region, endpoint, path_prefix: "p" };
        Deno.writeTextFileSync(file, JSON.stringify({ primary: { ...place, ...keys } }));
      };
      write({ access_key: accessKey, secret_key: secretKey });
      await using daemon = await DaemonProcess.start(depot, ["--config", file]);
      const count = (text: string) => daemon.log().split(text).length - 1;
      const reload = () => Deno.kill(daemon.pid, "SIGHUP");
      const uploads = async (name: string) => {
        Deno.writeTextFileSync(`${depot}/${name}`, name);
        await until(
          `${name} is stored`,
          () => filesBelow(`${server.dir}/${bucket}`).has(`p/${name}`),
        );
      };
      write({ access_key: accessKey, secret_key: "wrong-secret" });
      reload();
      await until("they are refused", () => count("Configuration not reloaded") === 1);
      assertStringIncludes(daemon.log(), "The primary storage cannot be used");
      await uploads("with the old ones");
      // The same keys from files: other settings, as after a rotation.
      Deno.writeTextFileSync(`${dir.path}/access`, accessKey!, { mode: 0o600 });
      Deno.writeTextFileSync(`${dir.path}/secret`, secretKey!, { mode: 0o600 });
      write({ access_key_file: `${dir.path}/access`, secret_key_file: `${dir.path}/secret` });
      reload();
      await until("they are taken", () => count("Configuration reloaded: primary.") === 1);
      assertEquals(daemon.log().includes(secretKey!), false);
      await uploads("with the new ones");
      assertEquals(await daemon.stop(), 0);
    } finally {
      await server.end();
    }
  },
});
