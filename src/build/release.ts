/**
 * Makes `build/release/`: everything that is published for one version and one architecture, with
 * checksums. `install.sh` takes all it installs from there.
 *
 *     deno task release [--base-url https://host/path]
 *
 * @module
 */

import { encodeHex } from "deno-std/encoding/mod.js";
import project from "../../deno.json" with { type: "json" };
import { makeSbom } from "./sbom.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const BUILD = `${ROOT}build`;
const RELEASE = `${BUILD}/release`;

/** Version of the LMDB source that is compiled in; see docs/dependencies.md. */
const LMDB_VERSION = "0.9.29";

/** Files that the binary writes out, where it can: name in the release, arguments. */
const WRITTEN_OUT: readonly (readonly [string, readonly string[]])[] = [
  ["p4-cache.bash", ["completion", "bash"]],
  ["p4-cache.zsh", ["completion", "zsh"]],
  ["p4-cache.fish", ["completion", "fish"]],
  ["p4-cache.1", ["man"]],
];

/** Runs the new binary; null when it does not know the command. */
async function written(args: readonly string[]): Promise<Uint8Array | null> {
  const command = new Deno.Command(`${BUILD}/p4-cache`, { args: [...args], stdin: "null" });
  const { code, stdout, stderr } = await command.output();
  const message = new TextDecoder().decode(stderr);
  if (code === 0) return stdout;
  if (/unknown command/.test(message)) return null;
  throw new Error(`Cannot make the release: 'p4-cache ${args.join(" ")}' says: ${message}`);
}

async function sha256(path: string): Promise<string> {
  return encodeHex(await crypto.subtle.digest("SHA-256", await Deno.readFile(path)));
}

function licenceOf(name: string, version: string): string | null {
  const folder = `${ROOT}node_modules/.deno/${name.replace("/", "+")}@${version}`;
  try {
    const text = Deno.readTextFileSync(`${folder}/node_modules/${name}/package.json`);
    const { license } = JSON.parse(text) as { license?: unknown };
    return typeof license === "string" ? license : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** The installer as it is published: with the version, and the address it came from. */
function publishedInstaller(text: string, baseUrl: string): string {
  const version = text.replace(
    /^(\s*DEFAULT_VERSION=).*$/m,
    (_, before) => `${before}${project.version}`,
  );
  return version.replace(/^(\s*DEFAULT_BASE_URL=).*$/m, (_, before) => `${before}'${baseUrl}'`);
}

function baseUrlOf(args: readonly string[]): string {
  if (args.length === 0) return "";
  const [flag, url] = args;
  if (args.length === 2 && flag === "--base-url" && /^https?:\/\/[^\s']+$/.test(url!)) return url!;
  throw new Error("Cannot make the release: allowed is --base-url followed by an http(s) address");
}

const baseUrl = baseUrlOf(Deno.args);
const platform = `linux-${Deno.build.arch}`;
const binary = `p4-cache-${project.version}-${platform}`;
await Deno.remove(RELEASE, { recursive: true }).catch(() => {});
await Deno.mkdir(RELEASE, { recursive: true });

await Deno.copyFile(`${BUILD}/p4-cache`, `${RELEASE}/${binary}`);
await Deno.chmod(`${RELEASE}/${binary}`, 0o755);
await Deno.copyFile(
  `${BUILD}/libp4shim.so`,
  `${RELEASE}/libp4shim-${project.version}-${platform}.so`,
);
for (const folder of ["docs/deploy/systemd", "docs/deploy/install"]) {
  for await (const { name, isFile } of Deno.readDir(`${ROOT}${folder}`)) {
    if (isFile) await Deno.copyFile(`${ROOT}${folder}/${name}`, `${RELEASE}/${name}`);
  }
}
for (const [name, args] of WRITTEN_OUT) {
  const bytes = await written(args);
  if (bytes !== null) await Deno.writeFile(`${RELEASE}/${name}`, bytes);
}
const sbom = makeSbom({
  version: project.version,
  lock: await Deno.readTextFile(`${ROOT}deno.lock`),
  bundled: JSON.parse(await Deno.readTextFile(`${BUILD}/bundled.json`)),
  binarySha256: await sha256(`${RELEASE}/${binary}`),
  licenceOf,
  denoVersion: Deno.version.deno,
  lmdbVersion: LMDB_VERSION,
});
await Deno.writeTextFile(
  `${RELEASE}/p4-cache-${project.version}.cdx.json`,
  JSON.stringify(sbom, null, 2) + "\n",
);
await Deno.writeTextFile(
  `${RELEASE}/install.sh`,
  publishedInstaller(await Deno.readTextFile(`${ROOT}install.sh`), baseUrl),
  { mode: 0o755 },
);

const names = Array.from(Deno.readDirSync(RELEASE), (entry) => entry.name).sort();
const sums = await Promise.all(
  names.map(async (name) => `${await sha256(`${RELEASE}/${name}`)}  ${name}\n`),
);
await Deno.writeTextFile(`${RELEASE}/SHA256SUMS`, sums.join(""));
console.log(`build/release: ${names.length} files and SHA256SUMS`);
