/**
 * Reading the access log beside its writer, and without growing with it.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { AccessReader } from "../../src/access/access_reader.ts";

const NO_PREFIX = new Uint8Array(0);

/** A log with entries `prefix` + number, and its writer. */
class Fixture {
  readonly dir = Deno.makeTempDirSync({ prefix: "access-reader-" });
  readonly #kv = new Kv(this.dir, 1 << 30, { relaxed: true });
  readonly #db = this.#kv.database("");

  async write(prefix: string, begin: number, end: number, seconds: number): Promise<void> {
    const value = new Uint8Array(8);
    new DataView(value.buffer).setBigUint64(0, BigInt(seconds), true);
    for (let i = begin; i < end;) {
      const batch = new KvBatch();
      for (const last = Math.min(end, i + 20_000); i < last; i++) {
        batch.put(this.#db, prefix + String(i).padStart(8, "0"), value);
      }
      await this.#kv.apply(batch.bytes());
    }
  }

  get usedBytes(): number {
    return this.#kv.info(this.#db).usedBytes;
  }

  [Symbol.dispose](): void {
    this.#kv.close();
    Deno.removeSync(this.dir, { recursive: true });
  }
}

/** Bytes of files that are in this process's memory. */
function residentFileBytes(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(/^RssFile:\s+(\d+) kB/m.exec(status)![1]) * 1024;
}

Deno.test("a walk over a large log takes little memory", async () => {
  using fixture = new Fixture();
  await fixture.write("x".repeat(180), 0, 400_000, 1);
  assert(fixture.usedBytes > 80 * 2 ** 20, `only ${fixture.usedBytes} bytes`);
  const reader = new AccessReader(fixture.dir);
  const before = residentFileBytes();
  let rows = 0, most = 0;
  for await (const page of reader.pages(NO_PREFIX)) {
    for (const _ of page) rows++;
    most = Math.max(most, residentFileBytes() - before);
  }
  reader.close();
  assertEquals(rows, 400_000);
  assert(most < 40 * 2 ** 20, `${most} bytes of the file were in memory`);
});

Deno.test("what is there all the time is seen once, in order, whatever is written meanwhile", async () => {
  using fixture = new Fixture();
  await fixture.write("k", 0, 30_000, 7);
  const reader = new AccessReader(fixture.dir);
  const seen: string[] = [];
  let pages = 0;
  for await (const page of reader.pages(new TextEncoder().encode("k"))) {
    for (const { path, seconds } of page) {
      assert(seconds === 7 || seconds === 8);
      seen.push(String.fromCharCode(...path));
    }
    // Before, between and behind what was read; and what was read is written anew.
    await fixture.write("a", pages * 100, pages * 100 + 100, 8);
    await fixture.write("k", 0, 30_000, 8);
    if (pages < 3) await fixture.write("k1", pages * 100, pages * 100 + 100, 8);
    pages++;
  }
  reader.close();
  assert(pages > 2, `${pages} pages`);
  const stable = seen.filter((path) => path.length === 9);
  assertEquals(stable.length, 30_000);
  assertEquals(seen, seen.toSorted());
  assertEquals(new Set(seen).size, seen.length);
});
