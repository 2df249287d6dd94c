/**
 * The socket of the admin commands: progress, results, refusals, and clients that go away.
 *
 * @module
 */

import { assertEquals, assertRejects, assertStringIncludes } from "deno-std/assert/mod.js";
import { askDaemon } from "../../src/commands/control_client.ts";
import { EnvironmentError } from "../../src/errors.ts";
import { ControlServer, type Routes } from "../../src/server/control_server.ts";

async function withServer(routes: Routes, test: (depot: string) => Promise<void>): Promise<void> {
  const depot = Deno.makeTempDirSync();
  Deno.mkdirSync(`${depot}/.p4cache`);
  const server = ControlServer.listen(`${depot}/.p4cache/control.sock`, routes);
  try {
    await test(depot);
  } finally {
    await server.close();
    Deno.removeSync(depot, { recursive: true });
  }
}

Deno.test("progress comes in order, then the result", () =>
  withServer({
    count: async function* (parameters) {
      for (let i = 0; i < Number(parameters.to); i++) yield i;
      await Promise.resolve();
      return "done";
    },
  }, async (depot) => {
    const seen: unknown[] = [];
    const result = await askDaemon(depot, "count", { to: 3 }, (value) => seen.push(value));
    assertEquals([seen, result], [[0, 1, 2], "done"]);
  }));

Deno.test("what a route throws, and a route that is not there, become one error", () =>
  withServer({ fails: () => Promise.reject(new Error("no\nluck")) }, async (depot) => {
    const failure = await assertRejects(() => askDaemon(depot, "fails"), EnvironmentError);
    assertEquals(failure.message, "Cannot run 'fails': no luck");
    const missing = await assertRejects(() => askDaemon(depot, "toString"), EnvironmentError);
    assertStringIncludes(missing.message, "has no 'toString'");
  }));

Deno.test("work ends when its client goes away", async () => {
  const started = Promise.withResolvers<void>(), ended = Promise.withResolvers<void>();
  await withServer({
    endless: async function* (_parameters, signal) {
      started.resolve();
      try {
        while (!signal.aborted) {
          yield "more";
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      } finally {
        ended.resolve();
      }
    },
  }, async (depot) => {
    const path = `${depot}/.p4cache/control.sock`;
    {
      using client = await Deno.connect({ transport: "unix", path });
      const request = "POST /endless HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
      await client.write(new TextEncoder().encode(request));
      await started.promise;
    }
    await ended.promise;
  });
});

Deno.test("parameters that are no JSON object are refused", () =>
  withServer({ any: () => Promise.resolve(1) }, async (depot) => {
    using client = Deno.createHttpClient({
      proxy: { transport: "unix", path: `${depot}/.p4cache/control.sock` },
    });
    for (const body of ["[]", "{", "1"]) {
      const response = await fetch("http://localhost/any", { method: "POST", body, client });
      assertEquals(response.status, 400);
      await response.body?.cancel();
    }
  }));
