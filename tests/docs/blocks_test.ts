/**
 * Every command block of the documents and of the deployment guide is run, on a machine of its own; what
 * cannot be is listed here with the reason.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { mayWatch, TempDir } from "../e2e/daemon_process.ts";
import { makeRelease } from "../install/release_folder.ts";
import { runSteps } from "./sandbox.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Blocks that are not run: document, how the block begins, why. */
const SKIPPED: readonly (readonly [string, string, string])[] = [
  ["README.md", "npx -y deno", "builds and tests everything: CI does the same by itself"],
  ["README.md", "LD_PRELOAD=", "has an ellipsis; the tutorial runs the same"],
  [
    "tests/docs/deployment_guide.md",
    "# Build",
    "builds with CMake; our build is 'deno task build'",
  ],
  ["docs/explanation/eviction.md", "spin -a", "a test of its own runs the model"],
  [
    "docs/explanation/shim.md",
    "p4-cache shim install",
    "has an ellipsis; the tutorial runs the same",
  ],
  ["docs/explanation/simulation.md", "", "runs for hours; tests/sim/ runs shorter ones"],
  [
    "docs/how-to/azure.md",
    "",
    "needs an account at Azure; tests/storage/azure_test.ts uses the emulator",
  ],
  [
    "docs/how-to/gcs.md",
    "",
    "needs a project at Google; tests/e2e/gcs_test.ts uses a server of its own",
  ],
  [
    "docs/how-to/s3.md",
    "p4-cache --depot-path",
    "needs a bucket at AWS; tests/storage/ use real servers",
  ],
  ["docs/how-to/s3.md", "aws s3api", "needs a bucket at AWS"],
  [
    "docs/how-to/point_in_time.md",
    "",
    "needs a bucket with versioning; tests/storage/history_test.ts has two",
  ],
  [
    "docs/how-to/migration.md",
    "sudo p4-cache migrate",
    "needs a second storage; tests/e2e/migration_test.ts has one",
  ],
  ["docs/reference/commands.md", "p4-cache migrate", "the same"],
  [
    "docs/runbooks/DiskLost.md",
    "sudo p4-cache restore-manifest",
    "needs a backup, and a disk that is lost; tests/e2e/disaster_test.ts has both",
  ],
  [
    "docs/how-to/failover.md",
    "sudo p4-cache lease --config /etc/p4-cache/config.json --take-away",
    "waits a minute, and fences the daemon; tests/e2e/lease_test.ts has a shorter one",
  ],
  ["docs/reference/commands.md", "p4-cache lease", "the same"],
  ["docs/how-to/access.md", "sudo ln -s", "the installer has made the link"],
  [
    "docs/how-to/replica.md",
    "sudo p4-cache invalidate",
    "needs a replica; tests/shim/stale_test.ts has one",
  ],
  ["docs/reference/commands.md", "p4-cache invalidate", "the same"],
  [
    "docs/reference/commands.md",
    "p4-cache config init",
    "refuses to overwrite the settings that are there",
  ],
];

/** Blocks that run until they are stopped. */
const ENDLESS =
  /^((sudo )?p4-cache (--(?!version)|run|events --follow|top|bench)|node_exporter|.*status --watch)/m;

/** Blocks that start a daemon by themselves. */
const STARTS = /^(sudo )?p4-cache (--(?!version)|run)/m;

/** Documents whose commands are typed in the depot. */
const IN_DEPOT = new Set([
  "docs/how-to/access.md",
  "docs/how-to/run_under_the_shim.md",
  "docs/reference/commands.md",
]);

/** Documents that begin with a machine on which nothing is installed or configured. */
const FROM_NOTHING = new Set(["docs/tutorial.md"]);

const INSTALL = "cd build/release && ./install.sh --yes && cd /sandbox/work";

const CONFIGURE = `
mkdir -p /mnt/nvme/depot/main/src /mnt/nvme/depot/main/old /mnt/nvme/depot/main/release /mnt/archive
for name in a.c,v src/a.c,v old/a.c,v release/a.c,v; do echo head > "/mnt/nvme/depot/main/$name"; done
echo main/src/a.c,v > /tmp/files
cat > /etc/p4-cache/config.json <<'END'
{
  "depot_path": "/mnt/nvme/depot",
  "primary": { "type": "nfs", "path": "/mnt/archive" },
  "metrics_file": "/var/lib/node_exporter/textfile/p4cache.prom",
  "metrics_interval": 1,
  "access_flush_interval_secs": 1
}
END
mkdir /etc/p4-cache/depots.d
cp /etc/p4-cache/config.json /etc/p4-cache/depots.d/projects.json
mkdir -p /hxdepots/p4/1/depots /backup/manifest
export P4CACHE_DEPOT=/mnt/nvme/depot
cp build/release/* .
LD_PRELOAD=/usr/local/lib/libp4shim.so p4d
systemctl start p4-cache
p4-cache flush --wait
p4-cache exec -- cat /mnt/nvme/depot/main/src/a.c,v
cp /usr/local/bin/p4-cache /usr/local/bin/p4-cache.previous
p4-cache pin main/release
mkdir -p /usr/share/fish/vendor_completions.d /usr/share/zsh/vendor-completions
until p4-cache access get main/src/a.c,v; do sleep 0.2; done
`;

interface Block {
  readonly document: string;
  readonly script: string;
  /** Lines that the document shows as the answer. */
  readonly answers: readonly string[];
}

function documents(dir: string): string[] {
  return Array.from(Deno.readDirSync(ROOT + dir)).sort((a, b) => a.name < b.name ? -1 : 1).flatMap(
    ({ name, isDirectory }) =>
      isDirectory ? documents(`${dir}/${name}`) : name.endsWith(".md") ? [`${dir}/${name}`] : [],
  );
}

function blocksOf(document: string): Block[] {
  const text = Deno.readTextFileSync(ROOT + document);
  return [...text.matchAll(/^( *)```(?:sh|bash)\n([\s\S]*?)^ *```/gm)].flatMap(
    ([, indent, block]) => {
      const lines = block!.split("\n").map((line) => line.slice(indent!.length));
      const { commands, answers } = typed(lines);
      return alternatives(commands.join("\n")).map((script) => ({ document, script, answers }));
    },
  );
}

/** What is typed where a block shows answers too, and those. */
function typed(lines: readonly string[]) {
  const commands = lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));
  if (commands.length === 0) return { commands: lines, answers: [] };
  return { commands, answers: lines.filter((line) => line !== "" && !line.startsWith("$ ")) };
}

/** "Or": both ways of one thing, each on its own; a copy of the manifest wants an empty directory. */
function alternatives(script: string): string[] {
  const [first, ...others] = script.split(/^(?=# Or )/m);
  return [first!, ...others.map((other) => `rm -f /backup/manifest/*\n${other}`)];
}

const DOCUMENTS = ["README.md", ...documents("docs"), "tests/docs/deployment_guide.md"];
const BLOCKS = DOCUMENTS.flatMap(blocksOf);
const reasonOf = (block: Block) =>
  SKIPPED.find(([document, begin]) =>
    document === block.document && block.script.startsWith(begin)
  );

const ignore = Deno.uid() !== 0 || !mayWatch();
if (ignore) console.log("the documents' commands are skipped: they need root and CAP_SYS_ADMIN");
const release = ignore ? "" : await makeRelease();

Deno.test("every reason for not running a block is about a block that is there", () => {
  for (const skipped of SKIPPED) {
    assert(BLOCKS.some((block) => reasonOf(block) === skipped), skipped.join(": "));
  }
});

/** Runbooks only look: one machine does for all of them. */
const groupOf = (document: string) =>
  document.startsWith("docs/runbooks/") ? "docs/runbooks" : document;

for (const group of new Set(DOCUMENTS.map(groupOf))) {
  const blocks = BLOCKS.filter((block) => groupOf(block.document) === group && !reasonOf(block));
  if (blocks.length === 0) continue;
  Deno.test(`the ${blocks.length} command blocks of ${group} work`, { ignore }, async () => {
    using dir = new TempDir();
    const before = FROM_NOTHING.has(group)
      ? "id perforce || useradd -r perforce"
      : INSTALL + CONFIGURE;
    const steps = blocks.map(({ script }) => ({
      script: (IN_DEPOT.has(group) ? "cd /mnt/nvme/depot\n" : "") + script,
      stops: ENDLESS.test(script),
      starts: STARTS.test(script),
    }));
    const endings = await runSteps(dir.path, release, before, steps);
    const failed = endings.flatMap(({ code, output }, i) => {
      const { document, script, answers } = blocks[i]!;
      const missing = answers.filter((line) => !output.split("\n").includes(line));
      if (code === 0 && missing.length === 0) return [];
      return [`${document}, exit code ${code}:\n${script}\n${output}\nNot printed: ${missing}`];
    });
    assertEquals(failed, []);
  });
}
