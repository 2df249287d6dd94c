/**
 * The socket that the shim asks: its protocol, its limits, its end.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { EnvironmentError } from "../../src/errors.ts";
import {
  type FetchAnswer,
  type Limits,
  type ShimRequests,
  ShimServer,
} from "../../src/server/shim_server.ts";

type Handler = (path: string) => Promise<FetchAnswer>;

const echoSize: Handler = (path) =>
  Promise.resolve(path === "none" ? { kind: "notFound" } : { kind: "ok", size: path.length });

/** A daemon that only fetches. */
function fetching(fetch: Handler): ShimRequests {
  return {
    fetch,
    revalidate: fetch,
    unlink: () => Promise.resolve({ kind: "local" }),
    list: async function* () {},
    dropped: () => {},
  };
}

async function withServer(
  handler: Handler,
  test: (path: string) => Promise<void>,
  limits?: Limits,
): Promise<void> {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  const server = await ShimServer.listen(path, 0o666, fetching(handler), limits);
  try {
    await test(path);
  } finally {
    await server.close();
    assertEquals([...Deno.readDirSync(dir)], []);
    Deno.removeSync(dir);
  }
}

const bytes = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Everything the server says until it ends the connection. */
async function readAll(conn: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(4096);
  for (let n; (n = await conn.read(buffer)) !== null;) {
    text += new TextDecoder().decode(buffer.subarray(0, n));
  }
  return text;
}

/** Sends, half-closes, and returns all answers. */
async function ask(path: string, request: string): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path });
  await conn.write(bytes(request));
  await conn.closeWrite();
  return await readAll(conn);
}

Deno.test("a request is answered with and without its last newline", () =>
  withServer(echoSize, async (path) => {
    assertEquals(await ask(path, "FETCH abc\n"), "OK 3\n");
    assertEquals(await ask(path, "FETCH abc"), "OK 3\n");
    assertEquals(await ask(path, "FETCH none\n"), "NOTFOUND\n");
    assertEquals(await ask(path, ""), "");
  }));

Deno.test("requests on a kept connection are answered in order", () =>
  withServer(async (name) => {
    // The first takes longest: its answer comes first all the same.
    await new Promise((resolve) => setTimeout(resolve, name === "aaaa" ? 30 : 0));
    return { kind: "ok", size: name.length };
  }, async (path) => {
    assertEquals(await ask(path, "FETCH aaaa\nFETCH b\nFETCH cc\n"), "OK 4\nOK 1\nOK 2\n");
  }));

Deno.test("a path is taken byte for byte, split over packets or not", () => {
  const seen: string[] = [];
  return withServer((name) => {
    seen.push(name);
    return echoSize(name);
  }, async (path) => {
    using conn = await Deno.connect({ transport: "unix", path });
    for (const part of ["FET", "CH a\xff", " b\r", "\n"]) {
      await conn.write(bytes(part));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await conn.closeWrite();
    assertEquals(await readAll(conn), "OK 5\n");
    assertEquals(seen, ["a\xff b\r"]);
  });
});

Deno.test("what is not a request, too long, or fails gets one ERROR line", () =>
  withServer((name) => {
    if (name === "throws") throw new Error("secret");
    return Promise.resolve({ kind: "error", why: "two\nlines" });
  }, async (path) => {
    const unknown = "ERROR unknown request; allowed: FETCH, UNLINK, LIST <depot-relative path>\n";
    assertEquals(await ask(path, "STORE x\n"), unknown);
    assertEquals(await ask(path, "FETCH throws\n"), "ERROR internal error\n");
    assertEquals(await ask(path, "FETCH x\n"), "ERROR two lines\n");
    assertEquals(await ask(path, "FETCH " + "x".repeat(8200)), "ERROR request too long\n");
  }));

Deno.test("500 clients at once are all answered, past one that never reads or ends", () =>
  withServer(echoSize, async (path) => {
    using idle = await Deno.connect({ transport: "unix", path });
    await idle.write(bytes("FETCH unfinish"));
    const sizes = Array.from({ length: 500 }, (_, i) => i + 1);
    const answers = await Promise.all(sizes.map((n) => ask(path, `FETCH ${"x".repeat(n)}\n`)));
    assertEquals(answers, sizes.map((n) => `OK ${n}\n`));
  }));

Deno.test("a dead daemon's socket is taken over, a live one's is not", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  // A listener that ends without removing its socket, as a killed process does.
  const script = `import socket; s = socket.socket(socket.AF_UNIX); s.bind("${path}"); s.listen()`;
  await new Deno.Command("python3", { args: ["-c", script] }).output();
  const server = await ShimServer.listen(path, 0o600, fetching(echoSize));
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  await assertRejects(
    () => ShimServer.listen(path, 0o600, fetching(echoSize)),
    EnvironmentError,
    path,
  );
  assertEquals(await ask(path, "FETCH abc\n"), "OK 3\n");
  await server.close();
  Deno.removeSync(dir);
});

Deno.test("a file that is not a socket is not taken over", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  Deno.writeTextFileSync(path, "kept");
  await assertRejects(
    () => ShimServer.listen(path, 0o600, fetching(echoSize)),
    EnvironmentError,
    path,
  );
  assertEquals(Deno.readTextFileSync(path), "kept");
  Deno.removeSync(dir, { recursive: true });
});

const SMALL: Limits = { connections: 2, idleMs: 60_000, crowdedIdleMs: 20, sweepMs: 10 };

Deno.test("idle connections give way once all are taken", () =>
  withServer(echoSize, async (path) => {
    using one = await Deno.connect({ transport: "unix", path });
    using two = await Deno.connect({ transport: "unix", path });
    assertEquals(await ask(path, "FETCH abc\n"), "OK 3\n");
    assertEquals([await readAll(one), await readAll(two)], ["", ""]);
  }, SMALL));

Deno.test("P5: of more clients than there may be, one is read when another has gone", async () => {
  const asked: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<FetchAnswer>>();
  const handler: Handler = (name) => {
    asked.push(name);
    const answer = Promise.withResolvers<FetchAnswer>();
    answers.set(name, answer);
    return answer.promise;
  };
  await withServer(handler, async (path) => {
    const asking = ["a", "b", "c"].map((name) => ask(path, `FETCH ${name}\n`));
    while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    // Time enough for a third one, were it let in.
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals(asked.length, 2);
    answers.get(asked[0]!)!.resolve({ kind: "ok", size: 1 });
    while (asked.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const name of asked) answers.get(name)!.resolve({ kind: "ok", size: 1 });
    assertEquals(await Promise.all(asking), ["OK 1\n", "OK 1\n", "OK 1\n"]);
  }, SMALL);
});

Deno.test("a client whose answer takes long is not taken for idle", () =>
  withServer(async () => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { kind: "notFound" };
  }, async (path) => {
    assertEquals(await ask(path, "FETCH slow\n"), "NOTFOUND\n");
  }, { ...SMALL, idleMs: 20 }));

/** A client that asks and never reads, until its answers fill the socket; then it says so. */
const DEAF = `
const conn = await Deno.connect({ transport: "unix", path: Deno.args[0] });
const requests = new TextEncoder().encode("FETCH a\\n".repeat(1000));
for (;;) {
  const late = new Promise((resolve) => setTimeout(() => resolve("late"), 200));
  if (await Promise.race([conn.write(requests), late]) === "late") break;
}
Deno.stdout.writeSync(new TextEncoder().encode("stuck"));
setInterval(() => {}, 1000);
`;

Deno.test("the end gives answers in the making, and waits for no client for ever", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  const asked = Promise.withResolvers<void>();
  const soon = Promise.withResolvers<FetchAnswer>();
  const handler: Handler = (name) => {
    if (name === "soon") return soon.promise;
    if (name !== "never") return echoSize(name);
    asked.resolve();
    return new Promise(() => {});
  };
  const server = await ShimServer.listen(path, 0o600, fetching(handler));
  const deaf = new Deno.Command(Deno.execPath(), {
    args: ["eval", DEAF, path],
    stdout: "piped",
  }).spawn();
  const stuck = deaf.stdout.getReader();
  assertEquals((await stuck.read()).value, bytes("stuck"));
  await stuck.cancel();
  const waiting = ask(path, "FETCH soon\n");
  const left = ask(path, "FETCH never\n");
  await asked.promise;
  const closing = server.close(200);
  soon.resolve({ kind: "ok", size: 5 });
  assertEquals(await waiting, "OK 5\n");
  await closing;
  assertEquals(await left, "");
  deaf.kill("SIGKILL");
  await deaf.status;
  Deno.removeSync(dir);
});

const noSocat = (await new Deno.Command("sh", { args: ["-c", "command -v socat"] }).output())
  .code !== 0;
if (noSocat) console.log("a test of the shim's socket is skipped: socat is not installed");

Deno.test({
  name: "echo through socat is answered",
  ignore: noSocat,
  fn: () =>
    withServer(echoSize, async (path) => {
      for (const echo of ["echo", "printf %s"]) {
        const command = `${echo} "FETCH none" | socat - UNIX-CONNECT:${path}`;
        const { stdout } = await new Deno.Command("sh", { args: ["-c", command] }).output();
        assertEquals(new TextDecoder().decode(stdout), "NOTFOUND\n");
      }
    }),
});

Deno.test("deletes, listings and counts of drops are answered on the same connection", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  let dropped = 0;
  const names = Array.from({ length: 3000 }, (_, i) => ({ name: `f${i}\xff`, isDirectory: false }));
  const server = await ShimServer.listen(path, 0o600, {
    fetch: echoSize,
    revalidate: () => Promise.resolve({ kind: "error", why: "stale: nobody can say" }),
    unlink: (name) =>
      Promise.resolve(
        name === "none" ? { kind: "notFound" } : { kind: name === "x" ? "local" : "deleted" },
      ),
    list: async function* (dir) {
      if (dir === "") return yield { name: "sub", isDirectory: true };
      yield* names;
      if (dir === "half") throw new Error("Cannot list\nthe storage: it is down é\u010a");
    },
    dropped: (count) => dropped += count,
  });
  try {
    const requests =
      "UNLINK a\nUNLINK x\nUNLINK none\nLIST .\nDROPPED 7\nDROPPED x\nFETCH abc\nREVALIDATE a,v\n";
    assertEquals(
      await ask(path, requests),
      "OK 0\nLOCAL\nNOTFOUND\nd sub\nEND\nOK 0\nERROR not a number\nOK 3\nERROR stale: nobody can say\n",
    );
    assertEquals(dropped, 7);
    const lines = (await ask(path, "LIST d\n")).split("\n");
    assertEquals(lines.length, 3002);
    assertEquals(lines.slice(-2), ["END", ""]);
    const half = await ask(path, "LIST half\n");
    assertEquals(half.includes("END"), false);
    assertEquals(half.split("\n").at(-2), "ERROR Cannot list the storage: it is down é\u010a");
    assertEquals(
      await ask(path, "STAT a\n"),
      "ERROR unknown request; allowed: FETCH, UNLINK, LIST <depot-relative path>\n",
    );
  } finally {
    await server.close();
    Deno.removeSync(dir);
  }
});
