/**
 * LMDB environments as lmdb-utils write and read them: nothing here is of the program under test.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { run } from "./daemon_process.ts";

/** Bytes in hexadecimal: the keys and values of one database. */
export type Entries = Map<string, string>;

/** Database name (empty: the unnamed one) → entries. */
export type Databases = Map<string, Entries>;

/**
 * Writes a new environment with mdb_load(1), in place of the one that is there. Its last transaction is a
 * later one, as if a program had gone on in the old one.
 */
export async function writeEnvironment(dir: string, databases: Databases): Promise<void> {
  Deno.mkdirSync(dir, { recursive: true });
  const before = await lastTransaction(dir);
  for (const name of ["data.mdb", "lock.mdb"]) {
    await Deno.remove(`${dir}/${name}`).catch(() => {}); // there may be none
  }
  let text = "";
  for (const [name, entries] of databases) {
    const database = name === "" ? "" : `database=${name}\n`;
    text += `VERSION=3\nformat=bytevalue\n${database}type=btree\nmapsize=1073741824\nHEADER=END\n`;
    for (const [key, value] of [...entries].sort(([a], [b]) => a < b ? -1 : 1)) {
      text += ` ${key}\n ${value}\n`;
    }
    text += "DATA=END\n";
  }
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, text);
    do {
      const { code, stderr } = await run("mdb_load", ["-f", file, dir]);
      assertEquals([code, stderr], [0, ""]);
    } while (await lastTransaction(dir) <= before);
  } finally {
    await Deno.remove(file);
  }
}

/** Number of the environment's last transaction; 0 where none is there. */
async function lastTransaction(dir: string): Promise<number> {
  const { stdout } = await run("mdb_stat", ["-e", dir]);
  return Number(/Last transaction ID: (\d+)/.exec(stdout)?.[1] ?? 0);
}

/** Reads an environment with mdb_dump(1). @param named Whether it has named databases. */
export async function readEnvironment(dir: string, named: boolean): Promise<Databases> {
  const { code, stdout, stderr } = await run("mdb_dump", [...(named ? ["-a"] : []), dir]);
  assertEquals(code, 0, stderr);
  const databases: Databases = new Map();
  for (const part of stdout.split("VERSION=3\n").slice(1)) {
    const name = /^database=(.*)$/m.exec(part)?.[1] ?? "";
    const lines = part.split("HEADER=END\n")[1]!.split("DATA=END")[0]!.split("\n").slice(0, -1);
    const entries: Entries = new Map();
    for (let i = 0; i < lines.length; i += 2) entries.set(lines[i]!.trim(), lines[i + 1]!.trim());
    databases.set(name, entries);
  }
  return databases;
}
