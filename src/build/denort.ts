/**
 * Finds the runtime that `deno compile` puts under the program (`denort`).
 *
 * The official one is downloaded by Deno itself. Where its host cannot be reached, a byte-exact copy
 * is recovered from a package on npm whose program was compiled with the same runtime: such a program
 * is the runtime followed by a payload, and ends with a trailer that tells the payload's length.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** The Deno version that the recovered runtime belongs to. */
const VERSION = "2.4.2";

/** The machine that the recovered runtime is for. */
const TARGET = "x86_64-unknown-linux-gnu";

/** SHA-256 of that version's runtime for that machine. */
const RUNTIME_SHA256 = "9209c6262bb6fe821ad676e4ed2a59bad5a6625ae69b261a1e3f035053c556e4";

const PACKAGE = "@vltpkg/cli-linux-x64@0.0.0-18";
const PROGRAM = "package/vlt";

/** Trailer: u32 magic, u32 hash, u64 payload length, little endian. */
const TRAILER_BYTES = 16;
const TRAILER_MAGIC = 0x501e;

const OFFICIAL_TIMEOUT_MS = 5000;

/**
 * Path for `DENORT_BIN`, or null when `deno compile` can download the official runtime by itself.
 * @param cacheDir Where the recovered runtime is kept between builds.
 */
export async function findRuntime(cacheDir: string): Promise<string | null> {
  const given = Deno.env.get("DENORT_BIN");
  if (given !== undefined) return given;
  if (Deno.version.deno !== VERSION) {
    throw new Error(
      `Cannot build with Deno ${Deno.version.deno}: use ${VERSION}, as the README does`,
    );
  }
  const recovered = `${cacheDir}/denort-${VERSION}`;
  if (Deno.build.target === TARGET && await isRuntime(recovered)) return recovered;
  if (await canDownload()) return null;
  if (Deno.build.target !== TARGET) {
    throw new Error(
      `Cannot build for ${Deno.build.target}: the official runtime cannot be downloaded; ` +
        "DENORT_BIN may name a local one",
    );
  }
  console.log(`The official runtime cannot be downloaded; recovering it from npm's ${PACKAGE}`);
  await Deno.mkdir(cacheDir, { recursive: true });
  const bytes = await recover(cacheDir);
  if (sha256(bytes) !== RUNTIME_SHA256) {
    throw new Error(`Cannot use the runtime in ${PACKAGE}: its SHA-256 is not ${RUNTIME_SHA256}`);
  }
  await Deno.writeFile(recovered, bytes, { mode: 0o755 });
  return recovered;
}

async function isRuntime(path: string): Promise<boolean> {
  try {
    return sha256(await Deno.readFile(path)) === RUNTIME_SHA256;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function canDownload(): Promise<boolean> {
  const url = `https://dl.deno.land/release/v${VERSION}/denort-${Deno.build.target}.zip`;
  try {
    const response = await fetch(url, {
      method: "HEAD",
      signal: AbortSignal.timeout(OFFICIAL_TIMEOUT_MS),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function recover(cacheDir: string): Promise<Uint8Array> {
  const dir = await Deno.makeTempDir({ dir: cacheDir });
  try {
    await run("npm", ["pack", "--silent", PACKAGE], dir);
    const [archive] = Array.from(Deno.readDirSync(dir), (entry) => entry.name);
    await run("tar", ["xzf", archive!, PROGRAM], dir);
    return runtimeOf(await Deno.readFile(`${dir}/${PROGRAM}`));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/**
 * The runtime under a compiled program.
 * @throws Error when the program does not end as one that was compiled with Deno 2.4.
 */
export function runtimeOf(program: Uint8Array): Uint8Array {
  const end = program.length - TRAILER_BYTES;
  if (end >= 0) {
    const trailer = new DataView(program.buffer, program.byteOffset + end);
    const payloadBytes = Number(trailer.getBigUint64(8, true));
    if (trailer.getUint32(0, true) === TRAILER_MAGIC && payloadBytes <= end) {
      return program.subarray(0, end - payloadBytes);
    }
  }
  throw new Error("Cannot find the runtime in a program: it has no trailer that tells where");
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function run(command: string, args: string[], cwd: string): Promise<void> {
  const { success } = await new Deno.Command(command, { args, cwd, stdout: "null" }).output();
  if (!success) throw new Error(`Cannot run ${command} ${args.join(" ")}`);
}
