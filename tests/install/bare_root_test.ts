/**
 * The installer in a bare Debian: no curl, no wget, no setcap, no user, no systemd.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { hasProgram, type Outcome, run, TempDir } from "../e2e/daemon_process.ts";
import { makeRelease, VERSION } from "./release_folder.ts";

const CACHE = new URL("../../build/cache/", import.meta.url).pathname;

/** The oldest Debian whose C library the program runs with. */
const SUITE = "bookworm";

/** Packed once, since fetching its packages takes most of a minute; null where it cannot be made. */
async function bareSystem(): Promise<string | null> {
  const packed = `${CACHE}${SUITE}.tar.gz`;
  if (await Deno.stat(packed).then(() => true, () => false)) return packed;
  if (Deno.uid() !== 0 || !hasProgram("debootstrap")) return null;
  using dir = new TempDir();
  const root = `${dir.path}/root`;
  const made = await run("debootstrap", ["--variant=minbase", SUITE, root]);
  if (made.code !== 0) return null;
  const line = 'tar -C "$1" -cf - . | gzip -1 > "$2.tmp" && mv "$2.tmp" "$2"';
  return (await run("sh", ["-c", line, "sh", root, packed])).code === 0 ? packed : null;
}

const system = await bareSystem();
if (system === null) {
  console.log(
    "the installation in a bare Debian is skipped: it needs root, debootstrap and a mirror",
  );
}

Deno.test("on a bare Debian the installer works, makes the user, and says what is missing", {
  ignore: system === null,
}, async () => {
  using dir = new TempDir();
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  const unpacked = await run("tar", ["-C", root, "-xzf", system!]);
  assertEquals(unpacked.code, 0, unpacked.stderr);
  await run("cp", ["-a", await makeRelease(), `${root}/release`]);
  const mounts =
    'mount --bind /dev "$0/dev" && mount -t proc proc "$0/proc" && exec chroot "$0" "$@"';
  const inside = (...command: string[]): Promise<Outcome> =>
    run("unshare", [
      "--mount",
      "sh",
      "-c",
      mounts,
      root,
      "env",
      "-i",
      "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      ...command,
    ]);

  const noNet = await inside(
    "P4CACHE_BASE_URL=http://127.0.0.1:9",
    "sh",
    "/release/install.sh",
    "--yes",
  );
  assertEquals(noNet.code, 1);
  assertStringIncludes(noNet.stderr, "curl and wget are missing");

  const first = await inside("sh", "/release/install.sh", "--yes");
  assertEquals(first.code, 0, first.stderr);
  assertStringIncludes(first.stdout, "create the system user perforce");
  assertStringIncludes(first.stderr, "setcap is missing");
  assertStringIncludes(
    first.stdout,
    "then start as perforce: p4-cache --config /etc/p4-cache/config.json",
  );
  assertMatch((await inside("id", "perforce")).stdout, /uid=\d+\(perforce\) gid=\d+\(perforce\)/);
  const owners = await inside("stat", "-c", "%U:%G %a", "/etc/p4-cache/env", "/var/log/p4-cache");
  assertEquals(owners.stdout, "root:perforce 640\nperforce:perforce 750\n");

  const version = await inside("p4-cache", "--version");
  assertEquals(version.stdout, `p4-cache ${VERSION}\n`);
  const access = await inside("p4-cache-access", "--help");
  assertEquals(access.code, 0);
  const preload = await inside(
    "LD_PRELOAD=/usr/local/lib/libp4shim.so",
    "P4CACHE_DEPOT=/srv",
    "ls",
    "/release",
  );
  assertEquals([preload.code, preload.stderr], [0, ""]);

  const second = await inside("sh", "/release/install.sh", "--yes");
  assertEquals([second.code, second.stdout], [
    0,
    `Nothing to do: p4-cache ${VERSION} is installed\n`,
  ]);
  const removed = await inside("sh", "/release/install.sh", "--uninstall", "--purge", "--yes");
  assertEquals(removed.code, 0, removed.stderr);
  assert((await inside("sh", "-c", "command -v p4-cache || ls -d /etc/p4-cache")).code !== 0);
});
