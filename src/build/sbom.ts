/**
 * The list of parts that a release is made of (SBOM), in CycloneDX 1.5: what `deno.lock` pins and the
 * bundle has, and what is compiled in beside it. Source of the format:
 * https://cyclonedx.org/docs/1.5/json/
 *
 * The same sources give the same bytes: it holds neither a time nor a random number.
 *
 * @module
 */

import { decodeBase64, encodeHex } from "deno-std/encoding/mod.js";

/** What the list is made from. */
export interface SbomSources {
  readonly version: string;
  /** Text of `deno.lock`. */
  readonly lock: string;
  /** Files that the bundler took in, as esbuild names them. */
  readonly bundled: readonly string[];
  /** SHA-256 of the released binary, hexadecimal. */
  readonly binarySha256: string;
  /** Licence of an installed package, as its `package.json` says. */
  readonly licenceOf: (name: string, version: string) => string | null;
  readonly denoVersion: string;
  readonly lmdbVersion: string;
}

interface Component {
  type: "application" | "library";
  "bom-ref": string;
  name: string;
  group?: string;
  version: string;
  purl: string;
  hashes?: { alg: string; content: string }[];
  licenses?: { expression: string }[];
}

/** Makes the document. */
export function makeSbom(sources: SbomSources): Record<string, unknown> {
  const packages = bundledPackages(sources.bundled);
  const integrity = lockedIntegrity(sources.lock);
  const components = [
    ...packages.map(({ name, version }) => npmComponent(name, version, integrity, sources)),
    genericComponent("deno", sources.denoVersion, "pkg:github/denoland/deno", "MIT"),
    genericComponent("lmdb", sources.lmdbVersion, "pkg:generic/lmdb", "OLDAP-2.8"),
  ];
  const self = `pkg:generic/p4-cache@${sources.version}`;
  return {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": self,
        name: "p4-cache",
        version: sources.version,
        purl: self,
        hashes: [{ alg: "SHA-256", content: sources.binarySha256 }],
        licenses: [{ expression: "MIT" }],
      },
    },
    components,
    dependencies: [{ ref: self, dependsOn: components.map((part) => part["bom-ref"]) }],
  };
}

/** The packages that files of the bundle come from: `node_modules/.deno/<name>@<version>/…`. */
function bundledPackages(files: readonly string[]): { name: string; version: string }[] {
  const found = new Map<string, { name: string; version: string }>();
  for (const file of files) {
    const folder = /node_modules\/\.deno\/([^/]+)\//.exec(file)?.[1];
    if (folder === undefined) continue;
    // Deno writes a scope's slash as '+', and the versions of peers after '_'.
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(folder) ?? [];
    if (name === undefined || version === undefined) continue;
    const plain = name.replace("+", "/");
    found.set(`${plain}@${version}`, { name: plain, version });
  }
  return [...found.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, part]) => part);
}

/** `name@version` → what npm's registry promises the package's bytes to hash to. */
function lockedIntegrity(lock: string): Map<string, string> {
  const { npm } = JSON.parse(lock) as { npm: Record<string, { integrity?: string }> };
  const entries = Object.entries(npm).map(([key, { integrity }]) =>
    [key.replace(/_.*$/, ""), integrity ?? ""] as const
  );
  return new Map(entries);
}

function npmComponent(
  name: string,
  version: string,
  integrity: ReadonlyMap<string, string>,
  sources: SbomSources,
): Component {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  const [group, plain] = name.startsWith("@") ? name.split("/") : [undefined, name];
  const promised = integrity.get(`${name}@${version}`);
  if (promised === undefined) {
    throw new Error(`Cannot list the parts: ${name}@${version} is not in deno.lock`);
  }
  const digest = /^sha512-(.+)$/.exec(promised)?.[1];
  const licence = sources.licenceOf(name, version);
  return {
    type: "library",
    "bom-ref": purl,
    name: plain!,
    ...(group === undefined ? {} : { group }),
    version,
    purl,
    ...(digest === undefined
      ? {}
      : { hashes: [{ alg: "SHA-512", content: encodeHex(decodeBase64(digest)) }] }),
    ...(licence === null ? {} : { licenses: [{ expression: licence }] }),
  };
}

function genericComponent(
  name: string,
  version: string,
  purl: string,
  licence: string,
): Component {
  const ref = `${purl}@${version}`;
  return {
    type: "library",
    "bom-ref": ref,
    name,
    version,
    purl: ref,
    licenses: [{ expression: licence }],
  };
}
