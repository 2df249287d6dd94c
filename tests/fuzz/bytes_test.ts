/**
 * Bytes from outside, as nobody sane would send them: what is no value is refused with an error, and
 * what is taken is what it says. A failure prints the bytes and the seed.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import fc from "fast-check";
import { pathFromBytes, pathProblem, pathToBytes } from "../../src/depot_path.ts";
import {
  decodeRow,
  decodeTombstone,
  decodeVersion,
  encodeRow,
  encodeVersion,
  splitTimeKey,
  timeKey,
} from "../../src/manifest/schema.ts";
import { AccessReceiver } from "../../src/server/access_receiver.ts";
import { ShimServer } from "../../src/server/shim_server.ts";

const RUNS = 5_000;

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });

/** The value, or null when it was refused with an error for people. */
function decoded<T>(decode: (bytes: Uint8Array) => T, value: Uint8Array): T | null {
  try {
    return decode(value);
  } catch (error) {
    assert(error instanceof Error && error.message.length > 0);
    return null;
  }
}

Deno.test("rows of any bytes are refused or read as they are written", () => {
  fc.assert(
    fc.property(bytes(60), (value) => {
      const row = decoded(decodeRow, value);
      if (row === null) return;
      const numbers = [row.size, row.lastAccess, row.createdAt];
      if (!numbers.every(Number.isSafeInteger)) return;
      assertEquals(encodeRow(row, "").subarray(0, 25), value.subarray(0, 25));
    }),
    { numRuns: RUNS },
  );
});

Deno.test("versions of any bytes are refused or survive", () => {
  const head = fc.constantFrom(0, 1, 1, 1, 2, 255);
  fc.assert(
    fc.property(head, bytes(120), (format, rest) => {
      const version = decoded(decodeVersion, Uint8Array.of(format, ...rest));
      if (version === null || !Number.isSafeInteger(version.size)) return;
      assertEquals(decodeVersion(encodeVersion(version)), version);
    }),
    { numRuns: RUNS },
  );
});

Deno.test("tombstones and queue keys of any bytes are refused or read", () => {
  fc.assert(
    fc.property(bytes(40), (value) => {
      decoded(decodeTombstone, value);
      const entry = decoded((value) => splitTimeKey(pathFromBytes(value)), value);
      if (entry === null || !Number.isSafeInteger(entry.seconds)) return;
      assertEquals(pathToBytes(timeKey(entry.seconds, entry.path)), new Uint8Array(value));
    }),
    { numRuns: RUNS },
  );
});

Deno.test("P6: no bytes that pass as a path lead out of the depot", () => {
  const names = fc.constantFrom(
    ".",
    "..",
    "",
    "a",
    ".p4cache",
    "\0",
    "\n",
    "x".repeat(256),
    "\xff",
  );
  fc.assert(
    fc.property(fc.array(names, { maxLength: 8 }), (parts) => {
      const path = pathFromBytes(pathToBytes(parts.join("/")));
      if (pathProblem(path) !== null) return;
      const resolved = new URL(
        path.split("/").map(encodeURIComponent).join("/"),
        "file:///depot/",
      ).pathname;
      assert(resolved.startsWith("/depot/") && !resolved.startsWith("/depot/.p4cache/"), resolved);
      assert(resolved.split("/").length === path.split("/").length + 2, resolved);
    }),
    { numRuns: RUNS },
  );
});

Deno.test("requests of any bytes get one line each, and end nothing", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/shim.sock`;
  const asked: string[] = [];
  const notFound = (name: string) => {
    asked.push(name);
    return Promise.resolve({ kind: "notFound" as const });
  };
  const server = await ShimServer.listen(path, 0o600, {
    fetch: notFound,
    revalidate: notFound,
    unlink: notFound,
    list: async function* () {},
    dropped: () => {},
  });
  const verb = fc.constantFrom(
    "FETCH ",
    "UNLINK ",
    "LIST ",
    "DROPPED ",
    "fetch ",
    "",
    " ",
    "FETCH",
  );
  const request = fc.tuple(verb, bytes(300)).map(([word, rest]) =>
    Uint8Array.of(...pathToBytes(word), ...rest.filter((byte) => byte !== 0x0a), 0x0a)
  );
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 5 }), async (requests) => {
        using conn = await Deno.connect({ transport: "unix", path });
        for (const each of requests) await conn.write(each);
        await conn.closeWrite();
        const answer = await new Response(conn.readable).text();
        const lines = answer.split("\n");
        assertEquals(lines.pop(), "");
        assertEquals(lines.length, requests.length, answer);
        for (const line of lines) assert(/^(OK 0|NOTFOUND|END|ERROR .+)$/.test(line), line);
      }),
      { numRuns: 500 },
    );
    assert(asked.length > 0);
  } finally {
    await server.close();
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("P6: datagrams of any bytes name files of the depot only, and end nothing", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/access.sock`;
  let told: string[] = [];
  let marked = Promise.withResolvers<void>();
  const receiver = AccessReceiver.listen(path, 0o600, (paths) => {
    told.push(...paths);
    if (paths.includes("mark")) marked.resolve();
  });
  const socket = Deno.listenDatagram({ transport: "unixpacket", path: `${dir}/sender.sock` });
  const to = { transport: "unixpacket", path } as const;
  const name = fc.constantFrom("a/b,v", "../x", "/etc/passwd", ".p4cache/manifest", "a\0b", "");
  const line = fc.oneof(name.map(pathToBytes), bytes(300));
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 6 }), async (lines) => {
        told = [];
        marked = Promise.withResolvers();
        await socket.send(Uint8Array.from(lines.flatMap((each) => [...each, 0x0a])), to);
        await socket.send(pathToBytes("mark\n"), to);
        await marked.promise;
        for (const each of told) assertEquals(pathProblem(each), null);
        const asked = lines.flatMap((each) => pathFromBytes(each).split("\n"));
        assertEquals(told, [...asked.filter((each) => pathProblem(each) === null), "mark"]);
      }),
      { numRuns: 500 },
    );
  } finally {
    socket.close();
    await receiver.close();
    Deno.removeSync(dir, { recursive: true });
  }
});
