/**
 * What grows with the number of tracked files: `deno task bench:scale [ROWS…]`, by default one
 * hundred thousand and one million. A row takes about 250 bytes of disk; a million about half a minute.
 *
 * Each size gets a manifest of clean files that are only in it, and the daemon is started over it
 * without a scan. Figures are printed beside those of an empty manifest.
 *
 * @module
 */

import type { DepotPath } from "../../src/depot_path.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import { CLEAN } from "../../src/manifest/schema.ts";
import { BINARY, DaemonProcess, run, TempDir } from "../e2e/daemon_process.ts";

/** Staged rows after which the next ones wait. */
const STAGED = 50_000;

/** Files written while the daemon runs. */
const WRITTEN = 2000;

/** Requests whose median is taken. */
const ASKED = 500;

interface Figures {
  readonly rows: number;
  readonly diskMib: number;
  readonly startMs: number;
  readonly anonMib: number;
  readonly fetchUs: number;
  readonly statusMs: number;
  readonly coldestUs: number;
  readonly uploadsPerSecond: number;
}

/** Paths in byte order, two thousand to a directory. */
function pathOf(i: number): DepotPath {
  const dir = String(Math.floor(i / 2000)).padStart(6, "0");
  return `depot/main/${dir}/file${String(i % 2000).padStart(4, "0")}.c,v` as DepotPath;
}

/** Fills a manifest; returns the time of one look for the coldest files, µs. */
async function fill(dir: string, rows: number): Promise<number> {
  Deno.mkdirSync(dir, { recursive: true });
  const manifest = openManifest(dir, (path) => path, (error) => {
    if (error !== null) throw error;
  }, "lru2");
  const seconds = Math.floor(Date.now() / 1000) - 86_400;
  const digest = "sha256:" + "0".repeat(64);
  for (let i = 0; i < rows; i++) {
    const row = { size: 4096, lastAccess: seconds, createdAt: seconds, state: CLEAN };
    const version = { size: 4096, mtimeNs: 1n, mode: 0o644, digest, etag: `"${i}"` };
    manifest.set(pathOf(i), { row, version });
    if (manifest.pending > STAGED) await manifest.commit();
  }
  await manifest.commit();
  const begun = performance.now();
  for (let i = 0; i < 20; i++) await manifest.coldestAfter("");
  const coldestUs = (performance.now() - begun) * 1000 / 20;
  await manifest.close();
  return coldestUs;
}

async function measure(rows: number): Promise<Figures> {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, store = `${dir.path}/store`;
  const manifest = `${depot}/.p4cache/manifest`;
  for (const path of [depot, store]) Deno.mkdirSync(path);
  const coldestUs = await fill(manifest, rows);
  const diskMib = Deno.statSync(`${manifest}/data.mdb`).blocks! * 512 / 2 ** 20;
  const flags = ["--primary-type", "nfs", "--primary-path", store, "--skip-startup-scan"];
  const begun = performance.now();
  await using daemon = await DaemonProcess.start(depot, [...flags, "--max-cache-gb", "100000"]);
  const startMs = performance.now() - begun;
  const memory = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  const anonMib = Number(/RssAnon:\s+(\d+)/.exec(memory)![1]) / 1024;
  const fetches: number[] = [];
  for (let i = 0; i < ASKED; i++) {
    const asked = performance.now();
    await daemon.fetch(`no/such/file${i}`);
    fetches.push((performance.now() - asked) * 1000);
  }
  const status = performance.now();
  await run(BINARY, ["status", "--json", "--depot-path", depot]);
  const statusMs = performance.now() - status;
  Deno.mkdirSync(`${depot}/new`);
  const written = performance.now();
  for (let i = 0; i < WRITTEN; i++) Deno.writeFileSync(`${depot}/new/${i}`, new Uint8Array(4096));
  const flushed = await run(BINARY, ["flush", "--wait", "--depot-path", depot]);
  if (flushed.code !== 0) throw new Error(flushed.stderr);
  const uploadsPerSecond = WRITTEN * 1000 / (performance.now() - written);
  fetches.sort((a, b) => a - b);
  const fetchUs = fetches[ASKED / 2]!;
  return { rows, diskMib, startMs, anonMib, fetchUs, statusMs, coldestUs, uploadsPerSecond };
}

const COLUMNS: readonly [keyof Figures, string][] = [
  ["rows", "rows"],
  ["diskMib", "disk, MiB"],
  ["startMs", "start, ms"],
  ["anonMib", "memory, MiB"],
  ["fetchUs", "miss, µs"],
  ["statusMs", "status, ms"],
  ["coldestUs", "coldest, µs"],
  ["uploadsPerSecond", "uploads/s"],
];

const sizes = Deno.args.length > 0 ? Deno.args.map(Number) : [100_000, 1_000_000];
console.log(COLUMNS.map(([, title]) => title.padStart(12)).join(""));
for (const rows of [0, ...sizes]) {
  const figures = await measure(rows);
  console.log(COLUMNS.map(([name]) => String(Math.round(figures[name])).padStart(12)).join(""));
}
