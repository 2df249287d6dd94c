/**
 * Makes the one binary, `build/p4-cache`: C libraries, bundle, then `deno compile` over both.
 *
 * @module
 */

import * as esbuild from "esbuild";
import { builtinModules } from "node:module";
import config from "../../deno.json" with { type: "json" };
import { findRuntime } from "./denort.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const BUILD = `${ROOT}build`;
const BUNDLE = `${BUILD}/bundle`;

/** Files carried inside the binary, read by `src/assets.ts`. */
const ASSETS = ["libp4helper.so", "libp4shim.so"];

/**
 * Young objects have 8 MiB here, not 32: as fast, and 90 MiB less memory under load, since they are taken in
 * turn three times over, and collecting what a load left takes the less time. That is done by us
 * (`src/observe/rests.ts`), and not once more by V8.
 */
const V8_FLAGS = "--max-semi-space-size=8,--expose-gc,--no-memory-reducer";

/** `deno compile` can overflow the default stack on large programs. */
const STACK_BYTES = 64 * 1024 * 1024;

async function run(command: string, args: string[], env: Record<string, string> = {}) {
  const { success } = await new Deno.Command(command, { args, cwd: ROOT, env }).spawn().status;
  if (!success) throw new Error(`Cannot build: '${command} ${args.join(" ")}' failed`);
}

/** Bundled: a single file starts in a third of the time that thousands of modules need. */
async function bundle(): Promise<void> {
  await Deno.remove(BUNDLE, { recursive: true }).catch(() => {});
  const { metafile } = await esbuild.build({
    metafile: true,
    entryPoints: {
      main: `${ROOT}main.ts`,
      // A thread begins in a file of its own.
      transfer_worker: `${ROOT}src/storage/transfer_worker.ts`,
    },
    outdir: BUNDLE,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "esnext",
    mainFields: ["module", "main"],
    conditions: ["deno", "import", "module"],
    // Packages that are CommonJS inside ask for Node's modules by require.
    banner: {
      js:
        'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    // Deno knows Node's modules by their full names only.
    alias: Object.fromEntries(builtinModules.map((name) => [name, `node:${name}`])),
    external: ["node:*"],
    logLevel: "warning",
  });
  await esbuild.stop();
  // What is in the binary, for the list of parts that a release comes with.
  await Deno.writeTextFile(`${BUILD}/bundled.json`, JSON.stringify(Object.keys(metafile.inputs)));
  for (const asset of ASSETS) await Deno.copyFile(`${BUILD}/${asset}`, `${BUNDLE}/${asset}`);
  await Deno.copyFile(`${ROOT}src/admin/dashboard.html`, `${BUNDLE}/dashboard.html`);
}

async function compile(): Promise<void> {
  const runtime = await findRuntime(`${BUILD}/cache`);
  await run(Deno.execPath(), [
    "compile",
    "--quiet",
    "--no-check",
    "--no-config",
    "--no-lock",
    "--no-npm",
    "--allow-all",
    // It would lie under a fixed name in /tmp, where somebody else could put one of his own.
    "--no-code-cache",
    `--v8-flags=${V8_FLAGS}`,
    ...config.unstable.map((feature) => `--unstable-${feature}`),
    `--include=${BUNDLE}`,
    `--output=${BUILD}/p4-cache`,
    `${BUNDLE}/main.js`,
  ], {
    RUST_MIN_STACK: String(STACK_BYTES),
    ...(runtime === null ? {} : { DENORT_BIN: runtime }),
  });
}

// Package downloads of child processes trust what the system trusts, behind a company's proxy too.
if (!Deno.env.has("DENO_TLS_CA_STORE")) Deno.env.set("DENO_TLS_CA_STORE", "system");
const begun = performance.now();
await run("make", ["--quiet", "-C", "shim", "all"]);
await bundle();
await compile();
const size = (Deno.statSync(`${BUILD}/p4-cache`).size / 1e6).toFixed(0);
console.log(`build/p4-cache: ${size} MB in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
