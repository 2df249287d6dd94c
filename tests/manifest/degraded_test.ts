/** A manifest that cannot be written, for a while or for good. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Kv, KV_PANIC, KvError } from "../../ffi/kv.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { Manifest } from "../../src/manifest/manifest.ts";
import { seen } from "../../src/manifest/transitions.ts";

async function withDir(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "manifest" });
  try {
    await test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const MIB = 1024 ** 2;

Deno.test("a full map grows, also under scans, and nothing is lost", () =>
  withDir(async (dir) => {
    const errors: unknown[] = [];
    const manifest = new Manifest(new Kv(dir, MIB), (path) => path, (error) => errors.push(error));
    for (let i = 0; i < 20_000; i++) {
      manifest.set(`some/directory/file-${i}` as DepotPath, seen(null, i, 1));
      if (i % 500 === 0) await Promise.all([manifest.commit(), manifest.pathsAfter("")]);
    }
    await manifest.commit();
    assertEquals(errors, []);
    assert(manifest.usage().mapBytes > MIB);
    assertEquals(manifest.get("some/directory/file-19999")!.row.size, 19_999);
    let rows = 0;
    for await (const _ of manifest.rows()) rows++;
    assertEquals(rows, 20_000);
    await manifest.close();
  }));

/** An environment whose writes fail as long as the test says. */
class FailingKv extends Kv {
  code: number | null = null;
  reopened = 0;

  override apply(batch: Uint8Array<ArrayBuffer>): Promise<bigint> {
    if (this.code !== null) return Promise.reject(new KvError(this.code, "as the test wants it"));
    return super.apply(batch);
  }

  override async reopen(mapBytes: number): Promise<void> {
    await super.reopen(mapBytes);
    this.reopened++;
    this.code = null;
  }
}

for (
  const [name, code] of [["EIO", -5], ["ENOSPC", -28], ["EROFS", -30], ["ENOMEM", -12]] as const
) {
  Deno.test(`${name} while the manifest is written: told once a second, and all is there after it`, () =>
    withDir(async (dir) => {
      const told: (number | null)[] = [];
      const kv = new FailingKv(dir, 16 * MIB);
      const manifest = new Manifest(kv, (path) => path, (error) => {
        told.push(error === null ? null : (error as KvError).code);
        kv.code = null;
      });
      kv.code = code;
      manifest.set("a" as DepotPath, seen(null, 7, 1));
      await manifest.commit();
      assertEquals(told, [code, null]);
      await manifest.close();
      const again = new Manifest(new Kv(dir, 16 * MIB), (path) => path, () => {});
      assertEquals(again.get("a")!.row.size, 7);
      await again.close();
    }));
}

Deno.test("an environment that LMDB gave up on is opened anew", () =>
  withDir(async (dir) => {
    const told: unknown[] = [];
    const kv = new FailingKv(dir, 16 * MIB);
    const manifest = new Manifest(kv, (path) => path, (error) => told.push(error));
    manifest.set("a" as DepotPath, seen(null, 1, 1));
    await manifest.commit();
    kv.code = KV_PANIC;
    manifest.set("b" as DepotPath, seen(null, 2, 1));
    await manifest.commit();
    assertEquals(kv.reopened, 1);
    assertEquals(told.length, 2);
    assertEquals([manifest.get("a")!.row.size, manifest.get("b")!.row.size], [1, 2]);
    await manifest.close();
  }));

Deno.test("a stop ends though the manifest cannot be written", () =>
  withDir(async (dir) => {
    const kv = new FailingKv(dir, 16 * MIB);
    const manifest = new Manifest(kv, (path) => path, () => {});
    kv.code = -30;
    manifest.set("a" as DepotPath, seen(null, 1, 1));
    await manifest.close();
  }));
