/**
 * Copies of archives on a replica, as programs under the library read them.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { BINARY, DaemonProcess, run, shimEnv, TempDir, until } from "../e2e/daemon_process.ts";

const NAME = "main/a.c,v";

/** A replica of a store in a directory, whose files the test replaces. */
class Site implements Disposable {
  readonly #dir = new TempDir();
  readonly depot = `${this.#dir.path}/depot`;
  readonly store = `${this.#dir.path}/store`;
  readonly file = `${this.depot}/${NAME}`;

  constructor() {
    for (const path of [this.depot, `${this.store}/main`]) {
      Deno.mkdirSync(path, { recursive: true });
    }
  }

  put(content: string): void {
    Deno.writeTextFileSync(`${this.store}/next`, content);
    Deno.renameSync(`${this.store}/next`, `${this.store}/${NAME}`);
  }

  daemon(settings: Record<string, unknown>): Promise<DaemonProcess> {
    const file = `${this.#dir.path}/config.json`;
    const document = {
      depot_path: this.depot,
      read_only: true,
      primary: { type: "nfs", path: this.store },
      ...settings,
    };
    Deno.writeTextFileSync(file, JSON.stringify(document));
    return DaemonProcess.start(this.depot, ["--config", file]);
  }

  /** What a new program reads. */
  async read(): Promise<string> {
    return (await run("cat", [this.file], { env: shimEnv(this.depot) })).stdout;
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

/** A program that lives on, as p4d does: reads the file's first line whenever it is asked. */
class Reader implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer;
  readonly #reader;

  constructor(site: Site) {
    const script = `while read -r _; do IFS= read -r line < ${site.file} && echo "$line"; done`;
    this.#child = new Deno.Command("sh", {
      args: ["-c", script],
      env: shimEnv(site.depot),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.getReader();
  }

  async read(): Promise<string> {
    await this.#writer.write(new TextEncoder().encode("\n"));
    const { value } = await this.#reader.read();
    return new TextDecoder().decode(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#reader.cancel();
    await this.#child.status;
  }
}

Deno.test("an old copy is replaced at the next open, in programs that were there before", async () => {
  using site = new Site();
  site.put("one\n");
  await using reader = new Reader(site);
  await using _daemon = await site.daemon({ revalidate_after: 1 });
  assertEquals(await reader.read(), "one\n");
  site.put("two\n");
  await until("the new version is read", async () => await reader.read() === "two\n");
  assertEquals(await site.read(), "two\n");
  const streamed = `import ctypes; libc = ctypes.CDLL(None); libc.fopen.restype = ctypes.c_void_p
f = ctypes.c_void_p(libc.fopen(b"${site.file}", b"r")); b = ctypes.create_string_buffer(20)
libc.fgets(b, 20, f); print(b.value.decode(), end="")`;
  site.put("three\n");
  await until("a stream reads the new version", async () => {
    const { stdout } = await run("python3", ["-c", streamed], { env: shimEnv(site.depot) });
    return stdout === "three\n";
  });
});

Deno.test("the open of a fresh copy asks nobody", async () => {
  using site = new Site();
  site.put("one\n");
  await using daemon = await site.daemon({ revalidate_after: 3600 });
  await using reader = new Reader(site);
  assertEquals(await reader.read(), "one\n");
  site.put("two\n");
  Deno.kill(daemon.pid, "SIGSTOP");
  try {
    // A question would never be answered.
    for (const _ of [1, 2, 3]) assertEquals(await reader.read(), "one\n");
    assertEquals(await site.read(), "one\n");
  } finally {
    Deno.kill(daemon.pid, "SIGCONT");
  }
});

Deno.test("without a daemon the copy that is here is read", async () => {
  using site = new Site();
  site.put("one\n");
  const daemon = await site.daemon({ revalidate_after: 0 });
  assertEquals(await site.read(), "one\n");
  site.put("two\n");
  assertEquals(await site.read(), "two\n", "0: each open is compared");
  site.put("three\n");
  await daemon.kill();
  assertEquals(await site.read(), "two\n");
});

Deno.test("where old copies must not be served, the open fails with EIO while the storage cannot say", async () => {
  using site = new Site();
  site.put("one\n");
  await using _daemon = await site.daemon({ revalidate_after: 0, serve_stale: false });
  assertEquals(await site.read(), "one\n");
  // The storage follows no links: what is there now cannot be read.
  Deno.renameSync(`${site.store}/${NAME}`, `${site.store}/kept`);
  Deno.symlinkSync(`${site.store}/kept`, `${site.store}/${NAME}`);
  const { code, stderr } = await run("cat", [site.file], { env: shimEnv(site.depot) });
  assertEquals(code, 1);
  assertStringIncludes(stderr, "Input/output error");
  Deno.removeSync(`${site.store}/${NAME}`);
  Deno.renameSync(`${site.store}/kept`, `${site.store}/${NAME}`);
  assertEquals(await site.read(), "one\n");
});

Deno.test("invalidate: what is named is read anew, whatever its age", async () => {
  using site = new Site();
  site.put("one\n");
  await using daemon = await site.daemon({ revalidate_after: 3600 });
  const invalidate = (...args: string[]) =>
    run(BINARY, ["invalidate", "--depot-path", site.depot, ...args]);
  for (const [i, args] of [["main"], [NAME], ["--since", "1h"]].entries()) {
    assertEquals((await site.read()).length, 4 + (i === 0 ? 0 : 2));
    site.put(`again ${i}\n`.slice(2));
    const { code, stdout, stderr } = await invalidate(...args, "--json");
    assertEquals(code, 0, stderr);
    assertEquals(JSON.parse(stdout), { dropped: 1, stayed: 0, reasons: [] });
    assertEquals(await site.read(), `again ${i}\n`.slice(2));
  }
  // One that is open stays, and is replaced at the next open.
  using _open = Deno.openSync(site.file);
  site.put("last\n");
  const { stdout } = await invalidate(NAME);
  assertStringIncludes(stdout, "0 copies dropped, 1 to be compared");
  assertEquals(await site.read(), "last\n");
  assertEquals((await invalidate()).code, 2);
  await daemon.stop();
});

Deno.test("once the depot is a primary's, nothing is compared any more", {
  ignore: Deno.uid() !== 0,
}, async () => {
  using site = new Site();
  site.put("one\n");
  const replica = await site.daemon({ revalidate_after: 0 });
  await using reader = new Reader(site);
  assertEquals(await reader.read(), "one\n");
  assertEquals(await replica.stop(), 0);
  await using primary = await site.daemon({ read_only: false });
  site.put("two\n");
  assertEquals(await reader.read(), "one\n");
  const refused = await run(BINARY, ["invalidate", "--depot-path", site.depot, NAME]);
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "this is a primary");
  assert(await primary.stop() === 0);
});
