/**
 * The installer against a server on loopback, into a tree of its own. One file because all of it installs
 * one release, which is made once.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { hasProgram, run, TempDir } from "../e2e/daemon_process.ts";
import {
  binaryName,
  INSTALLER,
  makeRelease,
  pipeInstaller,
  ReleaseServer,
  scriptRelease,
  sumUp,
  tree,
  VERSION,
} from "./release_folder.ts";

const TOOLS = new URL("../../build/tools", import.meta.url).pathname, COSIGN = `${TOOLS}/cosign`;
const noCosign = !await Deno.stat(COSIGN).then(() => true, () => false);
// To build it takes longer than all tests together.
if (noCosign) {
  console.log(
    `signatures are checked by openssl only: cosign itself needs ${COSIGN} (GOBIN=${TOOLS} go install ` +
      "github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1)",
  );
}

/** Made once: it takes a second. */
const release = await makeRelease();

/** A program that says which it is, and that no daemon runs. */
const script = (text: string) => `#!/bin/sh\n[ "$1" != status ] || exit 1\necho ${text}\n`;

/** A release with a small program, and a root directory to install into. */
class Site implements Disposable {
  readonly #dir = new TempDir();
  readonly root = `${this.#dir.path}/root`;
  readonly releases = `${this.#dir.path}/releases`;
  readonly folder: string;
  readonly path = this.#dir.path;

  private constructor(version: string) {
    this.folder = `${this.releases}/v${version}`;
    Deno.mkdirSync(this.root);
  }

  static async make(): Promise<Site> {
    const site = new Site(VERSION);
    await scriptRelease(release, site.releases, VERSION, script("first"));
    return site;
  }

  env(url: string, more: Record<string, string> = {}): Record<string, string> {
    return { DESTDIR: this.root, P4CACHE_BASE_URL: url, ...more };
  }

  install(url: string, more: Record<string, string> = {}) {
    return pipeInstaller(["--yes"], this.env(url, more));
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

Deno.test(
  "the installer is clean for shellcheck",
  { ignore: !hasProgram("shellcheck") },
  async () => {
    assertEquals((await run("shellcheck", [INSTALLER])).stdout, "");
  },
);

Deno.test("the installer names this version, and a C library that the program runs with", async () => {
  const text = Deno.readTextFileSync(INSTALLER);
  assertStringIncludes(text, `DEFAULT_VERSION=${VERSION}\n`);
  const oldest = /MIN_GLIBC=(\d+)\.(\d+)/.exec(text)!.slice(1).map(Number);
  for (const name of ["p4-cache", "libp4shim.so", "libp4helper.so"]) {
    const { stdout } = await run("objdump", [
      "-T",
      `${INSTALLER}/../build/${name}`.replace("install.sh/../", ""),
    ]);
    const needed = [...stdout.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map((
      m,
    ) => [Number(m[1]), Number(m[2])]);
    assert(needed.length > 0);
    for (const [major, minor] of needed) {
      assert(
        major! < oldest[0]! || major === oldest[0] && minor! <= oldest[1]!,
        `${name} needs ${major}.${minor}`,
      );
    }
  }
});

Deno.test("a release has the program, library, units, checksums and the list of parts", async () => {
  const folder = release;
  const sums = await run("sha256sum", ["-c", "SHA256SUMS"], { cwd: folder });
  assertEquals(sums.code, 0, sums.stdout);
  const names = Array.from(Deno.readDirSync(folder), (entry) => entry.name);
  assertEquals(sums.stdout.split("\n").length, names.length);
  assert(names.includes(binaryName(VERSION)) && names.includes("p4-cache.service"));
  const sbom = JSON.parse(Deno.readTextFileSync(`${folder}/p4-cache-${VERSION}.cdx.json`));
  assertEquals([sbom.bomFormat, sbom.specVersion], ["CycloneDX", "1.5"]);
  const parts: { name: string; licenses?: unknown; hashes?: unknown }[] = sbom.components;
  for (const name of ["commander", "prom-client", "lmdb", "deno"]) {
    assert(parts.some((part) => part.name === name && part.licenses), name);
  }
  assert(!parts.some((part) => part.name === "esbuild"), "what only builds is not in the binary");
  const digest = sums.stdout.length > 0 &&
    (await run("sha256sum", [binaryName(VERSION)], { cwd: folder }));
  assertStringIncludes(
    (digest as { stdout: string }).stdout,
    sbom.metadata.component.hashes[0].content,
  );
});

Deno.test("an installation puts everything in place, and a second run changes nothing", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const first = await site.install(server.url);
  assertEquals(first.code, 0, first.stderr);
  assertStringIncludes(first.stdout, `p4-cache ${VERSION} is installed`);
  const installed = tree(site.root);
  assertEquals(installed.get("usr/local/bin/p4-cache"), `755 ${script("first")}`);
  assertEquals(installed.get("usr/local/bin/p4-cache-access"), "link to p4-cache");
  assertMatch(installed.get("etc/p4-cache/config.json")!, /^640 /);
  assertMatch(installed.get("etc/p4-cache/env")!, /^640 /);
  for (
    const name of [
      "usr/local/lib/libp4shim.so",
      "etc/systemd/system/p4-cache.service",
      "etc/systemd/system/p4-cache@.service",
      "etc/systemd/system/p4-cache-depots.service",
      "etc/logrotate.d/p4-cache",
      "etc/tmpfiles.d/p4-cache.conf",
      "usr/local/share/man/man1/p4-cache.1",
      "usr/local/share/bash-completion/completions/p4-cache",
      "usr/local/share/zsh/site-functions/_p4-cache",
      "etc/fish/completions/p4-cache.fish",
    ]
  ) assert(installed.has(name), name);
  for (const dir of ["var/log/p4-cache", "var/lib/node_exporter/textfile"]) {
    assert(Deno.statSync(`${site.root}/${dir}`).isDirectory);
  }
  server.asked.length = 0;
  const second = await site.install(server.url);
  assertEquals([second.code, second.stdout], [
    0,
    `Nothing to do: p4-cache ${VERSION} is installed\n`,
  ]);
  assert(!server.asked.includes(binaryName(VERSION)), "what is there is not fetched again");
  assertEquals(tree(site.root), installed);
});

Deno.test("the installer changes neither settings nor secrets that are there", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  Deno.mkdirSync(`${site.root}/etc/p4-cache`, { recursive: true });
  Deno.writeTextFileSync(`${site.root}/etc/p4-cache/config.json`, "mine");
  Deno.writeTextFileSync(`${site.root}/etc/p4-cache/env`, "SECRET=1", { mode: 0o600 });
  assertEquals((await site.install(server.url)).code, 0);
  const installed = tree(site.root);
  assertEquals(installed.get("etc/p4-cache/config.json"), "644 mine");
  assertEquals(installed.get("etc/p4-cache/env"), "600 SECRET=1");
});

Deno.test("a dry run says what it would do, and touches nothing", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const { code, stdout } = await pipeInstaller(["--dry-run"], site.env(server.url));
  assertEquals(code, 0);
  assertStringIncludes(stdout, "would write /usr/local/bin/p4-cache");
  assertStringIncludes(stdout, "Nothing was changed");
  const lines = stdout.trimEnd().split("\n");
  assertEquals(lines, [...new Set(lines)], "each step is told once");
  assertEquals(tree(site.root).size, 0);
});

Deno.test("without a terminal and without --yes nothing is touched", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const { code, stderr } = await pipeInstaller([], site.env(server.url));
  assertEquals(code, 1);
  assertStringIncludes(stderr, "there is no terminal; give --yes");
  assertEquals(tree(site.root).size, 0);
});

Deno.test("places of your own are used, and stand in the units", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const { code, stderr } = await site.install(server.url, {
    BIN_DIR: "/opt/p4/bin",
    LIB_DIR: "/opt/p4/lib",
    CONFIG_DIR: "/opt/p4/etc",
    P4CACHE_USER: "p4admin",
  });
  assertEquals(code, 0, stderr);
  const installed = tree(site.root);
  const unit = installed.get("etc/systemd/system/p4-cache.service")!;
  assertStringIncludes(unit, "ExecStart=/opt/p4/bin/p4-cache --config /opt/p4/etc/config.json");
  assertStringIncludes(unit, "User=p4admin\nGroup=p4admin");
  assertStringIncludes(unit, "EnvironmentFile=-/opt/p4/etc/env");
  assertStringIncludes(installed.get("etc/tmpfiles.d/p4-cache.conf")!, "0640 p4admin p4admin");
  assert(installed.has("opt/p4/lib/libp4shim.so") && installed.has("opt/p4/bin/p4-cache"));
});

Deno.test("a replica gets the unit without capabilities, and settings that fit it", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const { code, stderr } = await pipeInstaller(["--yes", "--replica"], site.env(server.url));
  assertEquals(code, 0, stderr);
  const installed = tree(site.root);
  assertMatch(installed.get("etc/systemd/system/p4-cache.service")!, /^CapabilityBoundingSet=$/m);
  const config = JSON.parse(installed.get("etc/p4-cache/config.json")!.replace("640 ", ""));
  assertEquals(config.read_only, true);
  assertEquals((await run("getcap", [`${site.root}/usr/local/bin/p4-cache`])).stdout, "");
});

Deno.test("a file that is not what SHA256SUMS promises is refused before anything is touched", async () => {
  using site = await Site.make();
  for (
    const wrong of [
      binaryName(VERSION),
      "p4-cache.service",
      `libp4shim-${VERSION}-linux-${Deno.build.arch}.so`,
    ]
  ) {
    for (
      const spoil of [(b: Uint8Array) => b.slice(0, -1), (b: Uint8Array) => b.with(5, b[5]! ^ 1)]
    ) {
      await using server = new ReleaseServer(
        site.releases,
        (path, bytes) =>
          (path.endsWith(`/${wrong}`) ? spoil(bytes) : bytes) as Uint8Array<ArrayBuffer>,
      );
      const { code, stderr } = await site.install(server.url);
      assertEquals(code, 1);
      assertMatch(stderr, new RegExp(`Cannot use ${wrong} from http.*: its SHA-256 is not`));
      assertEquals(tree(site.root).size, 0);
    }
  }
});

Deno.test("a program for which there is no checksum is refused", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(
    site.releases,
    (path, bytes) => path.endsWith("/SHA256SUMS") ? "" : bytes as Uint8Array<ArrayBuffer>,
  );
  const { code, stderr } = await site.install(server.url);
  assertEquals(code, 1);
  assertStringIncludes(stderr, `there is no ${binaryName(VERSION)}; nothing was changed`);
  const missing = await site.install(server.url, { P4CACHE_VERSION: "9.9.9" });
  assertEquals(missing.code, 1);
  assertStringIncludes(missing.stderr, "Cannot get SHA256SUMS from");
  assertEquals(tree(site.root).size, 0);
});

/** Links to this machine's programs, without some; what the installer needs is among them. */
async function programsWithout(dir: string, ...names: string[]): Promise<string> {
  Deno.mkdirSync(dir);
  for (const from of ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]) {
    for (const { name } of Deno.readDirSync(from)) {
      if (names.includes(name)) continue;
      await Deno.symlink(`${from}/${name}`, `${dir}/${name}`).catch(() => {}); // there already
    }
  }
  return dir;
}

Deno.test("a signature that is asked for needs a program that can check it", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const PATH = await programsWithout(`${site.path}/tools`, "cosign", "openssl");
  const { code, stderr } = await site.install(server.url, { PATH, P4CACHE_COSIGN_KEY: "the.pub" });
  assertEquals(code, 1);
  assertStringIncludes(stderr, "cosign and openssl are missing");
  assertEquals(tree(site.root).size, 0);
});

for (const program of ["openssl", "cosign"]) {
  Deno.test(
    `what another key signed, or nobody, is refused before anything is touched (${program})`,
    {
      ignore: program === "cosign" ? noCosign : !hasProgram("openssl"),
    },
    async () => {
      using site = await Site.make();
      await using server = new ReleaseServer(site.releases);
      const openssl = async (...args: string[]) => {
        const { code, stderr } = await run("openssl", args, { cwd: site.path });
        assertEquals(code, 0, stderr);
      };
      for (const name of ["ours", "theirs"]) {
        await openssl(..."ecparam -genkey -name prime256v1 -noout -out".split(" "), `${name}.key`);
        await openssl("ec", "-in", `${name}.key`, "-pubout", "-out", `${name}.pub`);
      }
      const sums = `${site.folder}/SHA256SUMS`;
      const sign = async (name: string) => {
        await openssl("dgst", "-sha256", "-sign", `${name}.key`, "-out", "signature", sums);
        await openssl("base64", "-A", "-in", "signature", "-out", `${sums}.sig`);
      };
      const key = `${site.path}/ours.pub`;
      const others = await programsWithout(`${site.path}/tools`, "cosign");
      const PATH = program === "cosign" ? `${TOOLS}:${others}` : others;
      const install = () =>
        site.install(server.url, { PATH, HOME: site.path, P4CACHE_COSIGN_KEY: key });
      const unsigned = await install();
      assertEquals(unsigned.code, 1);
      assertStringIncludes(unsigned.stderr, "Cannot get SHA256SUMS.sig");
      await sign("theirs");
      const foreign = await install();
      assertEquals(foreign.code, 1);
      assertStringIncludes(foreign.stderr, `is not signed by ${key}; nothing was changed`);
      await sign("ours");
      const text = Deno.readTextFileSync(sums);
      Deno.writeTextFileSync(sums, text + "\n");
      assertEquals((await install()).code, 1, "changed after it was signed");
      assertEquals(tree(site.root).size, 0);
      Deno.writeTextFileSync(sums, text);
      const signed = await install();
      assertEquals(signed.code, 0, signed.stderr);
      assertStringIncludes(signed.stdout, `SHA256SUMS is signed by ${key}`);
    },
  );
}

Deno.test("without a network the files beside the script are taken", async () => {
  using site = await Site.make();
  const env = { DESTDIR: site.root, SKIP_DOWNLOAD: "1" };
  const { code, stderr } = await run("sh", [`${site.folder}/install.sh`, "--yes"], { env });
  assertEquals(code, 0, stderr);
  assert(tree(site.root).has("usr/local/bin/p4-cache"));
});

Deno.test("wget serves where curl is missing", { ignore: !hasProgram("wget") }, async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const tools = await programsWithout(`${site.path}/tools`, "curl");
  const { code, stderr } = await site.install(server.url, { PATH: tools });
  assertEquals(code, 0, stderr);
});

Deno.test("an installation that is killed at any step leaves whole files, and the next run ends it", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  assertEquals((await site.install(server.url)).code, 0);
  const old = tree(site.root);
  const version = "0.2.0";
  const next = await scriptRelease(site.folder, site.releases, version, script("second"));
  for (const name of ["p4-cache.service", "p4-cache.logrotate", "p4-cache.tmpfiles"]) {
    Deno.writeTextFileSync(`${next}/${name}`, "# new\n", { append: true });
  }
  await sumUp(next);
  // Every file is synced before it gets its name: the n-th sync kills the installer instead.
  const tools = `${site.path}/tools`;
  Deno.mkdirSync(tools);
  const count = `${site.path}/count`;
  Deno.writeTextFileSync(
    `${tools}/sync`,
    `#!/bin/sh\nn=$(($(cat ${count}) - 1))\necho $n > ${count}\n[ $n != 0 ] || kill -9 $PPID\n`,
    { mode: 0o755 },
  );
  const env = { P4CACHE_VERSION: version, PATH: `${tools}:${Deno.env.get("PATH")}` };
  let kills = 0;
  for (let step = 1;; step++) {
    Deno.writeTextFileSync(count, String(step));
    const { code, stderr } = await site.install(server.url, env);
    const now = tree(site.root);
    const program = now.get("usr/local/bin/p4-cache");
    assert(program === `755 ${script("first")}` || program === `755 ${script("second")}`);
    if (program === `755 ${script("second")}`) {
      assertEquals(now.get("usr/local/bin/p4-cache.previous"), `755 ${script("first")}`);
    }
    for (const [path, what] of now) {
      const before = old.get(path);
      if (before === undefined || before === what || path.endsWith(".tmp")) continue;
      assert(
        what.endsWith("# new\n") || path.endsWith("bin/p4-cache"),
        `${path} is neither old nor new`,
      );
    }
    if (code === 0) break;
    assertEquals(stderr.includes("Cannot"), false, stderr);
    kills++;
  }
  assert(kills >= 3, `${kills}`);
  Deno.writeTextFileSync(count, "1000");
  const last = await site.install(server.url, env);
  assertEquals(last.stdout, `Nothing to do: p4-cache ${version} is installed\n`);
});

Deno.test("an installation that is interrupted while it downloads leaves nothing", async () => {
  using site = await Site.make();
  const asked = Promise.withResolvers<void>();
  await using server = new ReleaseServer(site.releases, (path, bytes) => {
    if (!path.endsWith(binaryName(VERSION))) return bytes as Uint8Array<ArrayBuffer>;
    asked.resolve();
    return new ReadableStream({ start: (stream) => stream.enqueue(bytes.slice(0, 3)) });
  });
  const temporary = `${site.path}/tmp`;
  Deno.mkdirSync(temporary);
  const installer = new Deno.Command("setsid", {
    args: ["sh", INSTALLER, "--yes"],
    env: { ...site.env(server.url), TMPDIR: temporary },
    stdout: "null",
    stderr: "null",
  }).spawn();
  await asked.promise;
  // As a terminal's ^C does: to the whole group, which setsid has named after the installer.
  await run("kill", ["-INT", "--", `-${installer.pid}`]);
  await installer.status;
  assertEquals(tree(site.root).size, 0);
  assertEquals(Array.from(Deno.readDirSync(temporary)), []);
});

Deno.test("a script that was cut short does nothing", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  const text = Deno.readTextFileSync(INSTALLER);
  for (const share of [0.3, 0.6, 0.95]) {
    const cut = `${site.path}/install.sh`;
    Deno.writeTextFileSync(cut, text.slice(0, Math.floor(text.length * share)));
    const { code } = await run("sh", [cut, "--yes"], { env: site.env(server.url) });
    assert(code !== 0);
    assertEquals(tree(site.root).size, 0);
  }
});

Deno.test("wrong flags, variables and machines are refused with what is allowed", async () => {
  using site = await Site.make();
  const tools = `${site.path}/tools`;
  Deno.mkdirSync(tools);
  const env = { DESTDIR: site.root };
  const flag = await run("sh", [INSTALLER, "--frobnicate"], { env });
  assertEquals([flag.code, flag.stderr], [
    2,
    "install.sh: Cannot use --frobnicate: unknown flag; --help lists all\n",
  ]);
  assertEquals((await run("sh", [INSTALLER, "--purge"], { env })).code, 2);
  const odd = await run("sh", [INSTALLER], { env: { ...env, BIN_DIR: "/a b;c" } });
  assertEquals(odd.code, 2);
  const nowhere = await run("sh", [INSTALLER, "--yes"], { env });
  assertEquals(nowhere.code, 2);
  assertStringIncludes(nowhere.stderr, "set P4CACHE_BASE_URL");
  const fake = async (name: string, answer: string) => {
    Deno.writeTextFileSync(`${tools}/${name}`, `#!/bin/sh\n${answer}\n`, { mode: 0o755 });
    const path = `${tools}:${Deno.env.get("PATH")}`;
    const { code, stderr } = await run("sh", [INSTALLER, "--yes"], { env: { ...env, PATH: path } });
    Deno.removeSync(`${tools}/${name}`);
    assertEquals(code, 1);
    return stderr;
  };
  assertStringIncludes(
    await fake("getconf", "echo glibc 2.33"),
    "is 2.33; 2.34 or newer is needed",
  );
  assertStringIncludes(await fake("getconf", "exit 1"), "no GNU C library");
  assertStringIncludes(
    await fake("uname", '[ "$1" = -s ] && echo Linux || echo riscv64'),
    "riscv64",
  );
  assertStringIncludes(await fake("uname", "echo Darwin"), "Linux only");
  assertEquals(tree(site.root).size, 0);
});

Deno.test("uninstalling removes the program and keeps settings; --purge removes those too", async () => {
  using site = await Site.make();
  await using server = new ReleaseServer(site.releases);
  assertEquals((await site.install(server.url)).code, 0);
  // A depot that has never been served here, whatever lies at the example's path.
  const config = `${site.root}/etc/p4-cache/config.json`;
  Deno.writeTextFileSync(config, `{"depot_path": "${site.path}/depot"}`);
  const removed = await pipeInstaller(["--uninstall", "--yes"], site.env(server.url));
  assertEquals(removed.code, 0, removed.stderr);
  assertEquals([...tree(site.root).keys()].sort(), [
    "etc/p4-cache/config.json",
    "etc/p4-cache/env",
  ]);
  const again = await pipeInstaller(["--uninstall", "--yes"], site.env(server.url));
  assertEquals(again.stdout, "Nothing to do: p4-cache is not installed\n");
  await pipeInstaller(["--uninstall", "--purge", "--yes"], site.env(server.url));
  assertEquals(tree(site.root).size, 0);
});
