/**
 * Two real daemons and one bucket: one writes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";
import { RecordingProxy } from "./recording_proxy.ts";

const binary = versitygwBinary();

/** Time to live of the leases here, s: the shortest that is allowed. */
const TTL_SECONDS = 5;

/** A depot with a configuration. */
interface Site {
  readonly depot: string;
  readonly args: readonly string[];
}

/** Makes a depot in the directory whose objects are below the prefix `one`. */
function site(dir: string, name: string, primary: Record<string, unknown>): Site {
  const depot = `${dir}/${name}`, config = `${dir}/${name}.json`;
  Deno.mkdirSync(depot);
  Deno.writeTextFileSync(
    config,
    JSON.stringify({ depot_path: depot, primary, lease_ttl: TTL_SECONDS }),
  );
  return { depot, args: ["--config", config] };
}

async function refused({ depot, args }: Site): Promise<string> {
  const { code, stderr } = await run(BINARY, [...args, "--depot-path", depot]);
  assertEquals(code, 1, stderr);
  return stderr;
}

/** `p4-cache status --json`. */
// deno-lint-ignore no-explicit-any
async function statusOf(depot: string): Promise<any> {
  return JSON.parse((await run(BINARY, ["status", "--json", "--depot-path", depot])).stdout);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test({
  name: "of two daemons on one bucket one writes: refused, taken over, fenced",
  ignore: binary === null || !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const server = await startVersitygw(binary!);
    const { bucket, accessKey, secretKey } = server.config();
    const proxies = [0, 1].map(() => new RecordingProxy(server.endpoint));
    const [first, second] = ["first", "second"].map((name, i) =>
      site(dir.path, name, {
        type: "s3",
        endpoint: proxies[i]!.endpoint,
        bucket,
        access_key: accessKey,
        secret_key: secretKey,
        path_prefix: "one",
      })
    );
    const stored = () => filesBelow(`${server.dir}/${bucket}/one`);
    try {
      await using a = await DaemonProcess.start(first!.depot, first!.args);
      Deno.writeTextFileSync(`${a.depot}/early`, "of the first");
      await until("it is stored", () => stored().has("early"));

      assertMatch(
        await refused(second!),
        /Cannot start: the daemon on \S+ \(pid \d+, since \S+, epoch 1\) writes to s3:.*--take-over/,
      );
      assertEquals(proxies[1]!.writes(true), []);

      await using b = await DaemonProcess.start(second!.depot, [...second!.args, "--take-over"]);
      const tookAtMs = Date.now();
      Deno.writeTextFileSync(`${b.depot}/late`, "of the second");
      await until("the first says that it is fenced", () => a.log().includes("Fenced: "));
      Deno.writeTextFileSync(`${a.depot}/lost?`, "of the fenced one");
      Deno.writeTextFileSync(`${a.depot}/early`, "of the fenced one too");
      const { state, lease, degraded } = await statusOf(a.depot);
      assertEquals([state, lease.state, lease.other.epoch], ["failing", "fenced", 2]);
      assertStringIncludes(degraded[0].reason, "nothing is uploaded, removed or evicted");
      assertEquals(await a.fetch("none"), "NOTFOUND");

      await until("the second writes", () => stored().has("late"));
      assertStringIncludes(b.log(), `nothing is written for ${TTL_SECONDS} s`);
      const firstWrite = proxies[1]!.writes()[0]!;
      assert(firstWrite.atMs - tookAtMs > (TTL_SECONDS - 1) * 1000, "it did not wait");
      assertEquals(await a.fetch("late"), "OK 13", "restores go on");

      await pause(1000 * TTL_SECONDS);
      const ofFenced = proxies[0]!.writes(true).filter(({ atMs }) => atMs > firstWrite.atMs);
      assertEquals(ofFenced, [], "the fenced one wrote");
      assertEquals(new TextDecoder().decode(stored().get("early")), "of the first");
      assertEquals((await statusOf(a.depot)).files.dirty, 2, "its dirty files are still known");
      assertEquals(await a.stop(), 0);
      assertMatch(await refused(first!), /Cannot start: the daemon on/);

      // Given back at a clean stop: the first may have it at once, and what it kept is stored.
      assertEquals(await b.stop(), 0);
      await using again = await DaemonProcess.start(first!.depot, first!.args);
      await until("its files are stored", () => stored().has("lost?"));
      assertStringIncludes(again.log(), "epoch 3");
    } finally {
      for (const proxy of proxies) proxy.end();
      await server.end();
    }
  },
});

Deno.test({
  name: "a daemon that is cut off stops writing before another one begins, and stays fenced",
  ignore: binary === null || !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const server = await startVersitygw(binary!);
    const { bucket, accessKey, secretKey } = server.config();
    const proxy = new RecordingProxy(server.endpoint);
    const primary = { type: "s3", bucket, access_key: accessKey, secret_key: secretKey };
    const [first, second] = [proxy.endpoint, server.endpoint].map((endpoint, i) =>
      site(dir.path, `site${i}`, { ...primary, endpoint, path_prefix: "one" })
    );
    const stored = () => filesBelow(`${server.dir}/${bucket}/one`);
    try {
      await using a = await DaemonProcess.start(first!.depot, first!.args);
      Deno.writeTextFileSync(`${a.depot}/file`, "of the first");
      await until("it is stored", () => stored().has("file"));
      proxy.cut();
      Deno.writeTextFileSync(`${a.depot}/dirty`, "written while cut off");

      await using b = await DaemonProcess.start(second!.depot, second!.args);
      await until(
        "the first has stopped",
        async () => (await statusOf(a.depot)).lease.state === "suspended",
      );
      Deno.writeTextFileSync(`${b.depot}/file`, "of the second");
      await until("the second writes", () => b.log().includes("Holds the lease"));
      await until(
        "it is stored",
        () => new TextDecoder().decode(stored().get("file")) === "of the second",
      );
      proxy.mend();
      await until("the first says that it is fenced", () => a.log().includes("Fenced: "));
      await pause(1000);
      assert(!stored().has("dirty"));
      assertEquals((await statusOf(a.depot)).files.dirty, 1);
    } finally {
      proxy.end();
      await server.end();
    }
  },
});

Deno.test({
  name: "the lease is shown, and taken away from a daemon that cannot be stopped",
  ignore: binary === null || !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const server = await startVersitygw(binary!);
    const { endpoint, bucket, accessKey, secretKey } = server.config();
    const [first, second] = ["first", "second"].map((name) =>
      site(dir.path, name, {
        type: "s3",
        endpoint,
        bucket,
        access_key: accessKey,
        secret_key: secretKey,
        path_prefix: "one",
      })
    );
    const lease = async (...flags: string[]) => {
      const args = ["lease", ...first!.args, "--depot-path", first!.depot, ...flags];
      const { code, stdout, stderr } = await run(BINARY, args);
      assertEquals(code, 0, stderr);
      return stdout;
    };
    try {
      assertMatch(await lease(), /no daemon has ever held a lease/);
      await using a = await DaemonProcess.start(first!.depot, first!.args);
      assertMatch(await lease(), /held by the daemon on \S+ \(pid \d+, since \S+, epoch 1\)/);
      const doctor = async ({ args }: Site) =>
        /^\w+ +lease: .*$/m.exec((await run(BINARY, ["doctor", ...args])).stdout)?.[0];
      assertMatch(await doctor(first!) ?? "", /^OK .*the daemon holds it \(epoch 1\)/);
      assertMatch(await doctor(second!) ?? "", /^WARN .*the daemon on .* holds it, or has crashed/);
      const begunMs = Date.now();
      assertMatch(await lease("--take-away"), /free; the daemon on .* epoch 2\) gave it back/);
      assert(Date.now() - begunMs >= TTL_SECONDS * 1000, "it did not wait");
      assertStringIncludes(a.log(), "Fenced: ");
      await using b = await DaemonProcess.start(second!.depot, second!.args);
      assertEquals((await statusOf(b.depot)).lease.state, "held");
      assertEquals(JSON.parse(await lease("--json")).epoch, 3);
    } finally {
      await server.end();
    }
  },
});

Deno.test({
  name: "an archive directory has one writer too, and a crash costs its own installation nothing",
  ignore: !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const archive = `${dir.path}/archive`;
    Deno.mkdirSync(archive);
    const [first, second] = ["first", "second"].map((name) =>
      site(dir.path, name, { type: "nfs", path: archive })
    );
    {
      await using a = await DaemonProcess.start(first!.depot, first!.args);
      await a.kill();
    }
    await using a = await DaemonProcess.start(first!.depot, first!.args);
    Deno.writeTextFileSync(`${a.depot}/file`, "of the first");
    await until("it is stored", () => filesBelow(archive).has("file"));
    assertStringIncludes(a.log(), "epoch 2");
    assertMatch(await refused(second!), /Cannot start: the daemon on/);
    assertEquals(await a.stop(), 0);
    const b = await DaemonProcess.start(second!.depot, [...second!.args, "--lease", "off"]);
    Deno.writeTextFileSync(`${b.depot}/other`, "without a lease");
    await until("it is stored", () => filesBelow(archive).has("other"));
    assertEquals((await statusOf(b.depot)).lease.state, "none");
    assertEquals(await b.stop(), 0);
  },
});
