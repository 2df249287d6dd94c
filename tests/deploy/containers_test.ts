/**
 * Image file, compose file and Kubernetes manifests: what their own validators say, and that they agree
 * with the program.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import project from "../../deno.json" with { type: "json" };
import { BINARY, run, TempDir } from "../e2e/daemon_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const DEPLOY = `${ROOT}docs/deploy/`;

/** Path of a tool that `tests/run.ts` has installed; null, with a message, where it could not. */
function tool(name: string): string | null {
  const path = `${ROOT}build/tools/${name}`;
  try {
    Deno.statSync(path);
    return path;
  } catch {
    console.log(`a check of the container files is skipped: ${name} could not be installed`);
    return null;
  }
}

const hadolint = tool("hadolint"),
  dclint = tool("dclint"),
  kubernetes = tool("kubernetes-validate");

async function accepts(command: string, args: string[]): Promise<void> {
  const { code, stdout, stderr } = await run(command, args, { cwd: DEPLOY });
  assertEquals(code, 0, stdout + stderr);
}

Deno.test(
  "hadolint accepts the image file",
  { ignore: hadolint === null },
  () => accepts(hadolint!, ["docker/Dockerfile"]),
);

Deno.test(
  "the compose file keeps the compose specification",
  { ignore: dclint === null },
  () => accepts(dclint!, ["--quiet", "docker/compose.yaml"]),
);

Deno.test(
  "Kubernetes' schemas accept the manifests",
  { ignore: kubernetes === null },
  () => accepts(kubernetes!, ["--strict", "kubernetes/primary.yaml", "kubernetes/replica.yaml"]),
);

Deno.test("the images are of this version", () => {
  const { version } = project;
  assertStringIncludes(
    Deno.readTextFileSync(`${DEPLOY}docker/Dockerfile`),
    `ARG VERSION=${version}\n`,
  );
  for (const name of ["primary", "replica"]) {
    const text = Deno.readTextFileSync(`${DEPLOY}kubernetes/${name}.yaml`);
    for (const [, tag] of text.matchAll(/image: p4-cache\S*:(\S+)/g)) assertEquals(tag, version);
  }
});

Deno.test("the program accepts every configuration that we publish", async () => {
  using dir = new TempDir();
  const texts = ["docker/primary.json", "docker/replica.json", "install/config.json"].map((path) =>
    Deno.readTextFileSync(DEPLOY + path)
  );
  for (const name of ["primary", "replica"]) {
    const text = Deno.readTextFileSync(`${DEPLOY}kubernetes/${name}.yaml`);
    texts.push(/config\.json: \|\n([\s\S]*?)\n---/.exec(text)![1]!);
  }
  for (const text of texts) {
    const config = JSON.parse(text);
    assert(config.depot_path === "/depot" || config.depot_path === "/mnt/nvme/depot");
    Deno.writeTextFileSync(
      `${dir.path}/config.json`,
      JSON.stringify({ ...config, depot_path: dir.path }),
    );
    const { code, stderr } = await run(BINARY, [
      "config",
      "check",
      "--config",
      `${dir.path}/config.json`,
    ]);
    assertEquals(code, 0, stderr);
  }
});

Deno.test("only the primary's container may gain anything", () => {
  const replica = Deno.readTextFileSync(`${DEPLOY}kubernetes/replica.yaml`);
  assert(!replica.includes("add:") && !replica.includes("allowPrivilegeEscalation: true"));
  const compose = Deno.readTextFileSync(`${DEPLOY}docker/compose.yaml`);
  assertEquals(compose.match(/cap_add:\n(\s+- \w+\n)+/g), [
    "cap_add:\n      - LEASE\n      - SYS_ADMIN\n",
  ]);
});
