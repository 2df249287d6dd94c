/** The directory backend: the contract, and what only a directory can do wrong. @module */

import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { FileError } from "../../ffi/file_error.ts";
import { ThreadedVersion } from "../../src/cache/threaded_version.ts";
import { type Content, SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { sinkInto } from "../../src/storage/file_transfer.ts";
import { NfsBackend } from "../../src/storage/nfs/nfs_backend.ts";
import { TransferThreads } from "../../src/storage/transfer_threads.ts";
import { conformance, fails } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { OpenFile } from "./open_file.ts";

const TEMP_DIR = ".p4cache-tmp";

function entries(dir: string): string[] {
  try {
    return Array.from(Deno.readDirSync(dir), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

conformance("nfs", null, async () => {
  const dir = await Deno.makeTempDir();
  const backend = await NfsBackend.open(dir);
  return {
    backend,
    leftovers: () => Promise.resolve(entries(`${dir}/${TEMP_DIR}`)),
    end: async () => {
      await backend.close();
      await Deno.remove(dir, { recursive: true });
    },
  };
});

async function withArchive(
  test: (backend: NfsBackend, dir: string, parent: string) => Promise<void>,
): Promise<void> {
  const parent = await Deno.makeTempDir();
  const dir = `${parent}/archive`;
  await Deno.mkdir(dir);
  const backend = await NfsBackend.open(dir);
  try {
    await test(backend, dir, parent);
  } finally {
    await backend.close();
    await Deno.remove(parent, { recursive: true });
  }
}

Deno.test("nfs: an object is a plain file that others can read, with mode and mtime", () =>
  withArchive(async (backend, dir) => {
    const bytes = someBytes(3_000_000);
    await backend.put(textPath("a/b,v"), contentOf(bytes, { mode: 0o444 }), never);
    assertEquals(await Deno.readFile(`${dir}/a/b,v`), bytes);
    const stat = await Deno.stat(`${dir}/a/b,v`);
    assertEquals(stat.mode! & 0o7777, 0o444);
    assertEquals(stat.mtime!.getTime(), 1_700_000_000_123);
  }));

Deno.test("nfs: a file that others put there is an object without digest", () =>
  withArchive(async (backend, dir) => {
    await Deno.writeTextFile(`${dir}/foreign`, "bytes");
    const info = await backend.head(textPath("foreign"), never);
    assertEquals([info.size, info.digest], [5, null]);
  }));

Deno.test("nfs: a missing archive directory never makes a file absent", () =>
  withArchive(async (backend, dir, parent) => {
    await backend.put(textPath("kept"), contentOf(someBytes(5)), never);
    await Deno.rename(dir, `${parent}/elsewhere`);
    await fails("transient", () => backend.head(textPath("none"), never));
    await Deno.mkdir(dir);
    // An empty directory in its place: what is left when a mount is gone.
    await fails("denied", () => backend.head(textPath("none"), never));
    await Deno.remove(dir);
    await Deno.rename(`${parent}/elsewhere`, dir);
    await fails("absent", () => backend.head(textPath("none"), never));
  }));

Deno.test("nfs: an archive that was mounted over the directory after start is found", () =>
  withArchive(async (backend, dir, parent) => {
    await Deno.rename(dir, `${parent}/under`);
    const other = `${parent}/other`;
    await Deno.mkdir(other);
    const writer = await NfsBackend.open(other);
    await writer.put(textPath("there"), contentOf(someBytes(7)), never);
    await writer.close();
    await Deno.rename(other, dir);
    assertEquals((await backend.head(textPath("there"), never)).size, 7);
  }));

Deno.test("nfs: an object that is replaced again and again is read whole, one version or another", () =>
  withArchive(async (backend) => {
    const versions = [someBytes(70_000, 1), someBytes(30_000, 2)];
    const path = textPath("a");
    await backend.put(path, contentOf(versions[0]!), never);
    let isDone = false;
    const writing = (async () => {
      for (let i = 1; !isDone; i++) await backend.put(path, contentOf(versions[i % 2]!), never);
    })();
    for (let i = 0; i < 300; i++) {
      const { info, bytes } = await backend.getRange(path, 0, 100_000, { signal: never });
      assertEquals(bytes, versions[info.size === 70_000 ? 0 : 1]);
    }
    isDone = true;
    await writing;
  }));

/** Content of an open file that threads copy; `bytes` are those that were hashed. */
function copiedContent(file: OpenFile, bytes: Uint8Array<ArrayBuffer>, threads: TransferThreads) {
  const changed = new Error("changed");
  const version = new ThreadedVersion(threads, file.version(), "file", () => changed);
  const content: Content = {
    ...contentOf(bytes),
    body: (offset, length) =>
      version.body(offset, length, () => Promise.reject(new Error("not this way"))),
  };
  return { content, changed };
}

Deno.test("nfs: a range goes into its file without passing through memory, of the wanted version only", () =>
  withArchive(async (backend, dir) => {
    const path = textPath("a"), bytes = someBytes(SLICE_BYTES + 7);
    const { etag } = await backend.put(path, contentOf(bytes), never);
    using copy = new OpenFile(new Uint8Array(bytes.length));
    const threads = new TransferThreads();
    const get = (fd: number, offset: number, length: number) => {
      const into = sinkInto(threads, { fd, offset, length, digestFrom: offset });
      return backend.getRange(path, offset, length, { ifMatch: etag, into, signal: never });
    };
    const whole = await get(copy.fd, 0, bytes.length);
    assertEquals([whole.written?.length, whole.bytes.length], [bytes.length, 0]);
    assertEquals(copy.read(), bytes);
    const beyond = await get(copy.fd, SLICE_BYTES, 100);
    assertEquals([beyond.written, beyond.bytes], [undefined, bytes.subarray(SLICE_BYTES)]);
    const unwritable = await fails("permanent", () => get(copy.readOnlyFd(), 0, bytes.length));
    assert(unwritable.options.cause instanceof FileError);
    await Deno.utime(`${dir}/a`, 1, 1);
    await fails("corrupt", () => get(copy.fd, 0, bytes.length));
    await Deno.remove(`${dir}/a`);
    await fails("absent", () => get(copy.fd, 0, bytes.length));
    threads.close();
  }));

Deno.test("P1, nfs: what is copied there is the version that was hashed, or it is not stored", () =>
  withArchive(async (backend, dir) => {
    const path = textPath("a"), bytes = someBytes(2 * SLICE_BYTES + 7);
    using file = new OpenFile(bytes);
    const threads = new TransferThreads();
    const { content, changed } = copiedContent(file, bytes, threads);
    await backend.put(path, content, never);
    assertEquals(await Deno.readFile(`${dir}/a`), bytes);
    // Other bytes of the same size and time: only the hash tells.
    const others = bytes.slice();
    others[SLICE_BYTES + 1]! ^= 1;
    await fails(
      "corrupt",
      () => backend.put(path, copiedContent(file, others, threads).content, never),
    );
    file.write(new Uint8Array(1), 0);
    const error = await fails("permanent", () => backend.put(path, content, never));
    assertEquals(error.options.cause, changed);
    assertEquals(await Deno.readFile(`${dir}/a`), bytes);
    assertEquals(entries(`${dir}/${TEMP_DIR}`), []);
    threads.close();
  }));

Deno.test("nfs: symbolic links lead nowhere", () =>
  withArchive(async (backend, dir, parent) => {
    await Deno.writeTextFile(`${parent}/secret`, "secret");
    await Deno.symlink(`${parent}/secret`, `${dir}/link`);
    await Deno.symlink(parent, `${dir}/dirlink`);
    await fails("permanent", () => backend.head(textPath("link"), never));
    await fails("permanent", () => backend.head(textPath("dirlink/secret"), never));
    await fails("permanent", () =>
      backend.put(textPath("dirlink/new"), contentOf(someBytes(5)), never));
    assertEquals(entries(parent).sort(), ["archive", "secret"]);
  }));

Deno.test("nfs: the backend's own directory cannot be reached as an object", () =>
  withArchive(async (backend) => {
    const path = textPath(`${TEMP_DIR}/x`);
    await fails("permanent", () => backend.put(path, contentOf(someBytes(5)), never));
    await fails("permanent", () => backend.delete(path, never));
  }));

Deno.test("nfs: a directory that does not exist is refused with its name", async () => {
  const error = await assertRejects(() => NfsBackend.open("/no/such/archive"), StorageError);
  assertEquals(error.kind, "denied");
  assertEquals(error.message.includes("/no/such/archive"), true);
});

Deno.test("nfs: what a crash left unfinished is removed when it is old, and only by who stores", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/${TEMP_DIR}`);
    await Deno.writeTextFile(`${dir}/${TEMP_DIR}/1-dead-1`, "half");
    const put = async (staleMs: number) => {
      const backend = await NfsBackend.open(dir, staleMs);
      await Array.fromAsync(backend.list("", never));
      assertEquals(entries(`${dir}/${TEMP_DIR}`).includes("1-dead-1"), true);
      await backend.put(textPath("a"), contentOf(someBytes(10)), never);
      await backend.close();
    };
    await put(3_600_000);
    assertEquals(entries(`${dir}/${TEMP_DIR}`), ["1-dead-1"]);
    // Files of the last moment may be somebody's: the kernel's clock is some milliseconds behind.
    await new Promise((resolve) => setTimeout(resolve, 300));
    await put(200);
    assertEquals(entries(`${dir}/${TEMP_DIR}`), []);
    assertEquals(entries(dir).sort(), [TEMP_DIR, "a"]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
