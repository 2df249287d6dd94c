/**
 * Every kind of storage as primary with every kind as secondary, through the daemon: the order of
 * restores, what happens when the primary is away, and that the secondary is never written.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import type { BackendConfig } from "../../src/config/config.ts";
import type { Backend } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { type FaultyServer, KINDS } from "../faults/servers.ts";
import { Toxiproxy, toxiproxyBinary } from "../faults/toxiproxy.ts";
import { contentOf, never, textPath } from "../storage/contents.ts";
import { DaemonProcess, mayWatch, TempDir, until } from "./daemon_process.ts";

const proxyBinary = toxiproxyBinary();
const missing = proxyBinary === null
  ? "no toxiproxy-server"
  : mayWatch()
  ? null
  : "it needs CAP_SYS_ADMIN";
if (missing !== null) console.log(`combinations of storage are skipped: ${missing}`);

/** A place for the objects of one pair. */
interface Place {
  readonly config: BackendConfig;
  /** The same as it stands in the daemon's configuration file. */
  readonly document: Record<string, unknown>;
}

/** A kind of storage that runs. */
interface Running {
  readonly name: string;
  /** @param pair Keeps one pair's objects from another's. */
  place(pair: string): Place;
  /** Makes it unreachable, and reachable again. */
  cut(pair: string): Promise<void>;
  heal(pair: string): Promise<void>;
  end(): Promise<void>;
}

function directory(dir: string): Running {
  const path = (pair: string) => `${dir}/store-${pair}`;
  return {
    name: "nfs",
    place: (pair) => {
      Deno.mkdirSync(path(pair));
      const config = { type: "nfs", path: path(pair) } as const;
      return { config, document: config };
    },
    cut: (pair) => Deno.rename(path(pair), `${path(pair)}.away`),
    heal: (pair) => Deno.rename(`${path(pair)}.away`, path(pair)),
    end: () => Promise.resolve(),
  };
}

function server(name: string, at: FaultyServer, address: string, proxy: Toxiproxy | null): Running {
  return {
    name,
    place: (pair) => {
      const config = { ...at.config(address), prefix: pair } as BackendConfig;
      return { config, document: { ...at.document(address), path_prefix: pair } };
    },
    cut: () => proxy!.cut(),
    heal: () => proxy!.heal(),
    end: async () => {
      await proxy?.end();
      await at.end();
    },
  };
}

/** Every kind that can run here, as primaries (which can be cut) or as secondaries. */
async function startAll(dir: string, asPrimary: boolean): Promise<Running[]> {
  const running = [directory(`${dir}/${asPrimary ? "primary" : "secondary"}`)];
  Deno.mkdirSync(`${dir}/${asPrimary ? "primary" : "secondary"}`);
  for (const kind of KINDS) {
    if (kind.missing !== null) {
      console.log(`combinations with ${kind.name} are skipped: ${kind.missing}`);
      continue;
    }
    if (asPrimary) {
      const at = await kind.start();
      const proxy = await Toxiproxy.start(proxyBinary!, at.address);
      running.push(server(kind.name, at, proxy.address, proxy));
    } else {
      const at = await kind.start();
      running.push(server(kind.name, at, at.address, null));
    }
  }
  return running;
}

const text = (words: string) => contentOf(Uint8Array.from(new TextEncoder().encode(words)));

/** Stores texts by their names. */
async function fill(config: BackendConfig, texts: Record<string, string>): Promise<Backend> {
  const backend = await openBackend(config);
  for (const [name, words] of Object.entries(texts)) {
    await backend.put(textPath(name), text(words), never);
  }
  return backend;
}

async function names(backend: Backend): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of backend.list("", never)) found.push(path);
  return found;
}

async function testPair(dir: string, primary: Running, secondary: Running): Promise<void> {
  const pair = `${primary.name}-${secondary.name}`;
  const first = primary.place(pair), second = secondary.place(pair);
  const one = await fill(first.config, {
    "f,d/both": "first",
    "f,d/first": "1",
    "f,d/first too": "1",
  });
  const two = await fill(second.config, {
    "f,d/both": "second",
    "f,d/second": "2",
    "f,d/second too": "2",
  });
  const depot = `${dir}/depot-${pair}`, config = `${dir}/${pair}.json`;
  Deno.mkdirSync(depot);
  const document = { primary: first.document, secondary: second.document };
  Deno.writeTextFileSync(config, JSON.stringify(document), { mode: 0o600 });
  try {
    await using daemon = await DaemonProcess.start(depot, ["--config", config]);
    const read = (name: string) => Deno.readTextFileSync(`${depot}/${name}`);
    for (const [name, words] of [["both", "first"], ["first", "1"], ["second", "2"]]) {
      assertEquals(await daemon.fetch(`f,d/${name}`), `OK ${words!.length}`, `${pair}: ${name}`);
      assertEquals(read(`f,d/${name}`), words);
    }
    assertEquals(await daemon.fetch("f,d/none"), "NOTFOUND", pair);

    Deno.writeTextFileSync(`${depot}/f,d/new`, "new");
    await until("it is stored", async () => (await names(one)).includes("f,d/new"));
    assertEquals(await names(two), ["f,d/both", "f,d/second", "f,d/second too"], pair);

    await primary.cut(pair);
    const [there, away, nowhere] = await Promise.all(
      ["second too", "first too", "none"].map((name) => daemon.fetch(`f,d/${name}`)),
    );
    assertEquals(there, "OK 1", pair);
    assertMatch(nowhere!, /^ERROR /, pair);
    // A directory that is open goes on giving what it has, under whatever name.
    assertMatch(away!, primary.name === "nfs" ? /^OK 1$/ : /^ERROR /, pair);
    await primary.heal(pair);
    await until("it is back", async () => await daemon.fetch("f,d/first too") === "OK 1");
    assertEquals(await daemon.stop(), 0);
  } finally {
    await one.close();
    await two.close();
  }
}

Deno.test({
  name: "every storage works as primary with every other as secondary, which is only read",
  ignore: missing !== null,
  fn: async (t) => {
    using dir = new TempDir();
    const primaries = await startAll(dir.path, true), secondaries = await startAll(dir.path, false);
    try {
      for (const primary of primaries) {
        for (const secondary of secondaries) {
          await t.step(
            `${primary.name}, then ${secondary.name}`,
            () => testPair(dir.path, primary, secondary),
          );
        }
      }
    } finally {
      for (const running of [...primaries, ...secondaries]) await running.end();
    }
  },
});
