/**
 * HTTP of a running daemon, as monitoring and a browser use it.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { DaemonProcess, makePlaces, mayWatch, TempDir, until } from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of HTTP are skipped: they need CAP_SYS_ADMIN");

/** Starts a daemon that chooses its port, and says where it listens. */
async function start(
  dir: string,
  config: Record<string, unknown>,
): Promise<{ daemon: DaemonProcess; url: string; store: string }> {
  const { depot, store } = makePlaces(dir);
  const file = `${dir}/config.json`;
  Deno.writeTextFileSync(
    file,
    JSON.stringify({ primary: { type: "nfs", path: store }, ...config }),
  );
  const daemon = await DaemonProcess.start(depot, ["--config", file]);
  await until("it serves", () => daemon.log().includes("Serving"));
  return {
    daemon,
    store,
    url: / HTTP at (\S+)\n|$/.exec(daemon.log().match(/.*HTTP at.*\n/)![0])![1]!,
  };
}

Deno.test({
  name: "monitoring gets liveness, readiness, metrics and status; nothing can be changed",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { daemon, url } = await start(dir.path, { http_listen: "127.0.0.1:0" });
    await using _daemon = daemon;
    const get = (path: string, init?: RequestInit) => fetch(new URL(path, url), init);
    assertEquals(await (await get("health")).json(), { state: "healthy", degraded: [] });
    const ready = await get("ready");
    assertEquals([ready.status, (await ready.json()).ready], [200, true]);
    assertStringIncludes(await (await get("metrics")).text(), "\np4cache_files_total{");
    assertEquals((await (await get("status")).json()).pid, daemon.pid);
    const page = await get("");
    assertEquals(page.headers.get("content-type"), "text/html; charset=utf-8");
    assertEquals(page.headers.get("cache-control"), "no-store");
    assertStringIncludes(await page.text(), "<title>p4-cache</title>");
    for (
      const [path, init, status] of [
        ["flush", { method: "POST", body: "{}" }, 405],
        ["flush", {}, 404],
        ["../etc/passwd", {}, 404],
      ] as const
    ) {
      const response = await get(path, init);
      assertEquals([path, response.status], [path, status]);
      await response.body?.cancel();
    }
  },
});

Deno.test({
  name: "a web page elsewhere that makes its name lead here gets nothing",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const { daemon, url } = await start(dir.path, { http_listen: "127.0.0.1:0" });
    await using _daemon = daemon;
    const ask = async (host: string) => {
      using conn = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(url).port) });
      const request = `GET /status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      await conn.write(new TextEncoder().encode(request));
      return (await new Response(conn.readable).text()).split("\r\n")[0];
    };
    assertEquals(await ask("evil.example"), "HTTP/1.1 421 Misdirected Request");
    assertEquals(await ask("localhost:9180"), "HTTP/1.1 200 OK");
  },
});

Deno.test({
  name: "a Unix socket serves its owner and group, and a failing daemon is not ready but alive",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const path = `${dir.path}/http.sock`;
    // More free space than there is: the disk is low, and nothing can be evicted.
    const config = { http_listen: `unix:${path}`, min_free_gb: 1_000_000 };
    const { daemon } = await start(dir.path, config);
    await using _daemon = daemon;
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o660);
    using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
    const get = (page: string) => fetch(`http://localhost/${page}`, { client });
    await until(
      "it is failing",
      async () => (await (await get("health")).json()).state === "failing",
    );
    const ready = await get("ready");
    assertEquals([ready.status, (await ready.json()).degraded[0].condition], [503, "disk_low"]);
    const health = await get("health");
    assertEquals(health.status, 200);
    await health.body?.cancel();
  },
});

Deno.test({
  name: "a port that is taken ends the start with the reason",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const http_listen = `127.0.0.1:${taken.addr.port}`;
    const error = await start(dir.path, { http_listen }).then(() => "", (error) => String(error));
    assertStringIncludes(
      error,
      `Cannot serve HTTP on ${http_listen}: Address already in use; choose another http_listen`,
    );
  },
});
