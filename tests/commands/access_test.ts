/**
 * `p4-cache access`: what each query answers, byte for byte.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { pathFromBytes, pathToBytes } from "../../src/depot_path.ts";
import { argumentsFor } from "../../src/commands/program_name.ts";
import { runProgram } from "../../src/commands/program.ts";

/** 2026-01-31T12:00:00Z. */
const NOON = 1_769_860_800;

/** An access log with the given entries, as another program would have written it. */
async function withLog(
  entries: Readonly<Record<string, number>>,
  body: (ask: Ask, dir: string) => Promise<void>,
): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "access-query-" });
  const kv = new Kv(dir, 1 << 28);
  const db = kv.database("");
  const batch = new KvBatch();
  for (const [path, seconds] of Object.entries(entries)) {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, BigInt(seconds), true);
    batch.put(db, path, value);
  }
  await kv.apply(batch.bytes());
  kv.close();
  const ask = async (...args: string[]) => {
    const file = `${dir}/answer`;
    let err = "";
    const code = await runProgram(["access", "--db", dir, ...args, "--output", file], {
      out: () => {},
      err: (text) => void (err += text),
      isInteractive: false,
    });
    const bytes = err === "" ? Deno.readFileSync(file) : new Uint8Array(0);
    return { code, err, out: pathFromBytes(bytes) as string };
  };
  try {
    await body(ask, dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

type Ask = (...args: string[]) => Promise<{ code: number; out: string; err: string }>;

const FEW = {
  "main/a.c": NOON,
  "main/b,v": NOON + 61,
  "main/sub/c": 0,
  "mainly/d": NOON - 86_400 * 40,
};

Deno.test("get prints the time in UTC, or NOTFOUND with exit code 1", () =>
  withLog(FEW, async (ask) => {
    assertEquals(await ask("get", "main/a.c"), {
      code: 0,
      out: "2026-01-31T12:00:00Z\n",
      err: "",
    });
    assertEquals(await ask("get", "main"), { code: 1, out: "NOTFOUND\n", err: "" });
    assertEquals((await ask("get", "x".repeat(5000))).out, "NOTFOUND\n");
    assertEquals(
      (await ask("get", "main/sub/c", "--json")).out,
      '{"path":"main/sub/c","last_access":"1970-01-01T00:00:00Z"}\n',
    );
    assertEquals(JSON.parse((await ask("get", "none", "--json")).out).last_access, null);
  }));

Deno.test("count and stat tell the entries without walking them", () =>
  withLog(FEW, async (ask) => {
    assertEquals((await ask("count")).out, "4\n");
    assertEquals((await ask("count", "--json")).out, '{"entries":4}\n');
    assertMatch((await ask("stat")).out, /^entries: 4\nused_bytes: \d+\nmap_bytes: 268435456\n$/);
    assertEquals(JSON.parse((await ask("stat", "--json")).out).entries, 4);
  }));

Deno.test("prefix lists names that begin with it, in byte order, and --limit ends it", () =>
  withLog(FEW, async (ask) => {
    const rows = [
      "main/a.c\t2026-01-31T12:00:00Z\n",
      "main/b,v\t2026-01-31T12:01:01Z\n",
      "main/sub/c\t1970-01-01T00:00:00Z\n",
    ];
    assertEquals((await ask("prefix", "main/")).out, rows.join(""));
    assertEquals((await ask("prefix", "main/", "--limit", "2")).out, rows.slice(0, 2).join(""));
    assertEquals((await ask("prefix", "main/", "--limit", "0")).out, "");
    assertEquals((await ask("prefix", "zzz")).out, "");
    assertEquals((await ask("prefix", "mainl")).out, "mainly/d\t2025-12-22T12:00:00Z\n");
  }));

Deno.test("stale lists what was opened before the moment, an age or an epoch", () =>
  withLog({ ...FEW, now: Math.floor(Date.now() / 1000) }, async (ask) => {
    const names = async (before: string) =>
      (await ask("stale", "--before", before)).out.split("\n").slice(0, -1)
        .map((line) => line.split("\t")[0]);
    assertEquals(await names(String(NOON)), ["main/sub/c", "mainly/d"]);
    assertEquals(await names(String(NOON + 1)), ["main/a.c", "main/sub/c", "mainly/d"]);
    assertEquals(await names("99w"), Date.now() / 1000 - 99 * 604_800 < NOON ? ["main/sub/c"] : []);
    assertEquals((await names("1h")).includes("now"), false);
    const { code, err } = await ask("stale", "--before", "30 days");
    assertEquals(code, 2);
    assertEquals(
      err,
      "p4-cache: Cannot use --before '30 days': allowed is an age such as 30d, 6h, 15m or 2w, " +
        "or seconds since 1970\n",
    );
  }));

Deno.test("export keeps every name whole: CSV as in RFC 4180, TSV escaped, JSON with its bytes", () =>
  withLog({ 'q"uote,v': NOON, "tab\tback\\": NOON, "latin\xe9": NOON }, async (ask) => {
    const time = "2026-01-31T12:00:00Z";
    assertEquals(
      (await ask("export")).out,
      `path,time\nlatin\xe9,${time}\n"q""uote,v",${time}\ntab\tback\\,${time}\n`,
    );
    assertEquals(
      (await ask("export", "--format", "tsv")).out,
      `path\ttime\nlatin\xe9\t${time}\nq"uote,v\t${time}\ntab\\tback\\\\\t${time}\n`,
    );
    assertEquals(
      (await ask("export", "--json")).out.split("\n").slice(0, 3).map((line) => JSON.parse(line)),
      [
        { path: "latin\\xe9", path_base64: "bGF0aW7p", last_access: time },
        { path: 'q"uote,v', last_access: time },
        { path: "tab\tback\\", last_access: time },
      ],
    );
    assertEquals((await ask("export", "--format", "xml")).code, 2);
  }));

Deno.test("many pages come whole, once each and in order", () => {
  const entries: Record<string, number> = {};
  for (let i = 0; i < 30_000; i++) entries[`d/${String(i).padStart(6, "0")}`] = NOON + i % 86_400;
  return withLog(entries, async (ask) => {
    const lines = (await ask("prefix", "d/")).out.split("\n").slice(0, -1);
    assertEquals(lines.map((line) => line.split("\t")[0]), Object.keys(entries));
    const { out } = await ask("prefix", "d/02");
    assertEquals(out.split("\n").length - 1, 10_000);
  });
});

Deno.test("top ranks directories by files opened since a moment", () =>
  withLog({
    "a/b/1": NOON,
    "a/b/2": NOON + 5,
    "a/b/c/1": NOON,
    "a/x": NOON,
    "old/1": 5,
    "old/2": 5,
    "root": NOON + 9,
  }, async (ask) => {
    const top = async (...args: string[]) =>
      (await ask("top", "--since", String(NOON), "--json", ...args)).out.split("\n").slice(0, -1)
        .map((line) => JSON.parse(line)).map((d) => [d.directory, d.recent, d.files]);
    assertEquals(await top(), [["a/b", 2, 2], ["", 1, 1], ["a/b/c", 1, 1], ["a", 1, 1]]);
    assertEquals(await top("--depth", "1"), [["a", 4, 4], ["", 1, 1]]);
    assertEquals(await top("a/b", "--limit", "1"), [["a/b", 2, 2]]);
    assertEquals(
      (await ask("top", "--since", String(NOON), "--depth", "1", "--limit", "1")).out,
      "    RECENT      FILES  LAST ACCESS           DIRECTORY\n" +
        "         4          4  2026-01-31T12:00:05Z  a\n",
    );
  }));

Deno.test("hist counts every entry in one bar", () => {
  const now = Math.floor(Date.now() / 1000);
  return withLog({ a: now - 60, b: now - 7200, c: now - 7300, d: 0, e: now + 100 }, async (ask) => {
    const bars = (await ask("hist", "--json")).out.split("\n").slice(0, -1)
      .map((line) => JSON.parse(line));
    assertEquals(bars.map((bar) => bar.entries), [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    const out = new TextDecoder().decode(pathToBytes((await ask("hist")).out));
    assertMatch(out, /^< 1 hour {4}2 {2}40\.0 % {2}█+\n/);
    for (const line of out.split("\n")) assert(line.length <= 80, line);
  });
});

Deno.test("a log that is not there is told in one line", async () => {
  let err = "";
  const terminal = {
    out: () => {},
    err: (text: string) => void (err += text),
    isInteractive: false,
  };
  const code = await runProgram(["access", "count", "--db", "/nonexistent/log"], terminal);
  assertEquals(code, 1);
  assertMatch(err, /^p4-cache: Cannot open .*\/nonexistent\/log.*--db.*\n$/);
});

Deno.test("under the name p4-cache-access every argument belongs to the query", () => {
  assertEquals(argumentsFor(["count"], "/usr/bin/p4-cache-access"), ["access", "count"]);
  assertEquals(argumentsFor(["count"], "p4-cache"), ["count"]);
});
