import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { EnvironmentError } from "../../src/errors.ts";
import { type FetchAnswer, ShimServer } from "../../src/server/shim_server.ts";

type Handler = (path: string) => Promise<FetchAnswer>;

const echoSize: Handler = (path) =>
  Promise.resolve(path === "none" ? { kind: "notFound" } : { kind: "ok", size: path.length });

async function withServer(handler: Handler, test: (path: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  const server = await ShimServer.listen(path, 0o666, handler);
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
    const unknown = "ERROR unknown request; allowed: FETCH <depot-relative path>\n";
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
  const server = await ShimServer.listen(path, 0o600, echoSize);
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  await assertRejects(() => ShimServer.listen(path, 0o600, echoSize), EnvironmentError, path);
  assertEquals(await ask(path, "FETCH abc\n"), "OK 3\n");
  await server.close();
  Deno.removeSync(dir);
});
