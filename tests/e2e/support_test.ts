/**
 * Bringing back what was opened last, and the file for those who help.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  makePlaces,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of warm and support-bundle are skipped: they need CAP_SYS_ADMIN");

Deno.test({
  name: "warm brings back what was opened last, the latest first, until there is enough",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store } = makePlaces(dir.path);
    // As many files as are asked for at once, and more: the older ones are not looked at.
    const names = Array.from({ length: 500 }, (_, i) => `f${i}`);
    for (const name of names) Deno.writeFileSync(`${store}/${name}`, new Uint8Array(1000));
    const config = `${dir.path}/config.json`;
    Deno.writeTextFileSync(
      config,
      JSON.stringify({
        depot_path: depot,
        primary: { type: "nfs", path: store },
        access_flush_interval_secs: 1,
        max_cache_bytes: 10_000_000,
      }),
    );
    await using _daemon = await DaemonProcess.start(depot, ["--config", config]);
    const p4cache = (...args: string[]) => run(BINARY, [...args, "--config", config]);
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${dir.path}/teller` });
    const tell = (files: string[]) =>
      socket.send(
        new TextEncoder().encode(files.join("\n") + "\n"),
        { transport: "unixpacket", path: `${depot}/.p4cache/access.sock` },
      );
    const logged = async (n: number) => (await p4cache("access", "count")).stdout === `${n}\n`;
    await tell(names.slice(0, 250));
    await until("the first are recorded", () => logged(250));
    // Accesses are told apart by the second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await tell(names.slice(250));
    await until("the others are recorded", () => logged(500));
    const { code, stdout } = await p4cache("warm", "--hot", "150KB");
    assertEquals(code, 0);
    assertMatch(stdout, /^On the disk: 200 files \([^)]+\) of those opened last\n$/);
    const back = [...filesBelow(depot).keys()];
    assertEquals(back.length, 200);
    assertEquals(back.every((name) => Number(name.slice(1)) >= 250), true);
    assertEquals((await p4cache("prefetch", "--hot", "150KB")).stdout, stdout);
    assertEquals((await p4cache("prefetch")).code, 2);
    assertEquals((await p4cache("warm", "--hot", "1GB")).code, 2);
    assertEquals((await p4cache("warm", "--hot", "much")).code, 2);
    socket.close();
  },
});

Deno.test({
  name: "a support bundle has what helps, for its owner only, and no secret anywhere",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    const config = `${dir.path}/config.json`;
    const secret = "SECRETSECRETSECRET";
    Deno.writeTextFileSync(
      config,
      JSON.stringify({
        depot_path: depot,
        log_file: `${depot}.log`,
        primary: { type: "nfs", path: store },
        probe: false,
        secondary: {
          ...{ type: "s3", bucket: "b", endpoint: "http://127.0.0.1:9" },
          ...{ access_key: "AKACCESSKEY", secret_key: secret },
        },
      }),
    );
    // The daemon does without the secondary, which does not exist.
    await using _daemon = await DaemonProcess.start(depot, storage);
    Deno.writeTextFileSync(`${depot}.log`, `it got into the log: ${secret}\n`, { append: true });
    const output = `${dir.path}/bundle.tar.gz`;
    const { code, stdout } = await run(
      BINARY,
      ["support-bundle", "--config", config, "--output", output],
    );
    assertEquals(code, 0);
    assertStringIncludes(stdout, `Wrote ${output}`);
    assertEquals(Deno.statSync(output).mode! & 0o777, 0o600);
    const text = (await run("tar", ["-xzOf", output])).stdout;
    assertStringIncludes(text, "it got into the log: ***");
    assertEquals(text.includes(secret), false);
    assertEquals(text.includes("AKACCESSKEY"), false);
    assertStringIncludes(text, "# TYPE p4cache_uploads_total counter");
    assertStringIncludes(text, '"check":"configuration"');
    const names = (await run("tar", ["-tzf", output])).stdout;
    for (const name of ["config.json", "status.json", "events.jsonl", "mounts.txt"]) {
      assertStringIncludes(names, `/${name}\n`);
    }
    // A pipe or a device (/dev/null!) is not its asker's own: its mode stays.
    const piped =
      `mkfifo -m 644 p && { cat p | tar -tz & } && "$@" --output p && stat -c %a p; wait`;
    const command = ["sh", BINARY, "support-bundle", "--config", config];
    const pipe = await run("sh", ["-c", `cd '${dir.path}' && ${piped}`, ...command]);
    assertMatch(pipe.stdout, /^644$/m);
    assertStringIncludes(pipe.stdout, "/config.json\n");
  },
});
