/** Large objects come in slices: failures of the disk are told as such, so that room can be made. @module */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { ENOSPC } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import { DepotFiles } from "../../ffi/files.ts";
import { ObjectFetcher, RESTORE_DIR } from "../../src/cache/object_fetch.ts";
import { SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { TransferThreads } from "../../src/storage/transfer_threads.ts";
import { contentOf, never, someBytes, textPath } from "../storage/contents.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

const PATH = textPath("large");

Deno.test("a disk that is full while a slice is received is the disk's error, not the storage's", async () => {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "fetch" });
  Deno.mkdirSync(`${dir}/${RESTORE_DIR}`, { recursive: true });
  const files = new DepotFiles(dir);
  const threads = new TransferThreads();
  const backend = new MemoryBackend();
  await backend.put(PATH, contentOf(someBytes(2 * SLICE_BYTES)), never);
  const inner = backend.getRange.bind(backend);
  const offered: boolean[] = [];
  backend.getRange = (path, offset, length, options) => {
    if (offset > 0) offered.push(options.into !== undefined);
    if (offset < SLICE_BYTES) return inner(path, offset, length, options);
    const cause = new FileError(ENOSPC, "write", "an open file");
    return Promise.reject(new StorageError("permanent", "its content cannot be used", { cause }));
  };
  const fetcher = new ObjectFetcher(files, () => 4, threads);
  const error = await assertRejects(() => fetcher.fetch(PATH, backend), FileError);
  assertEquals([error.errno, error.path], [28, PATH]);
  assertEquals(offered, [true, true]);
  threads.close();
  files.close();
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("space for a large file is set aside before its slices come, or the disk says that it has none, and keeps what it has", async () => {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "fetch" });
  Deno.mkdirSync(`${dir}/${RESTORE_DIR}`, { recursive: true });
  const files = new DepotFiles(dir);
  const threads = new TransferThreads();
  const backend = new MemoryBackend();
  const content = someBytes(2 * SLICE_BYTES);
  await backend.put(PATH, contentOf(content), never);
  const setAside = files.setAside.bind(files);
  const inner = backend.getRange.bind(backend);
  const seen: (number | null)[] = [];
  files.setAside = async (fd, path, bytes) => {
    await setAside(fd, path, bytes);
    const { size, blocks } = Deno.statSync(`/proc/self/fd/${fd}`);
    seen.push(size, blocks! * 512);
  };
  const fetcher = new ObjectFetcher(files, () => 4, threads);
  const { content: fetched } = await fetcher.fetch(PATH, backend);
  if (!("fd" in fetched)) throw new Error("it was to be in a file");
  assertEquals(seen, [0, content.length]);
  assertEquals(await files.read(fetched.fd, PATH, 0, content.length), content);
  files.closeFile(fetched.fd);

  const asked: number[] = [];
  backend.getRange = (path, offset, length, options) => {
    asked.push(offset);
    return inner(path, offset, length, options);
  };
  let takenBlocks: number | null = null;
  files.setAside = async (fd, path) => {
    try {
      await setAside(fd, path, 2 * files.space().totalBytes);
    } finally {
      takenBlocks = Deno.statSync(`/proc/self/fd/${fd}`).blocks;
    }
  };
  const error = await assertRejects(() => fetcher.fetch(PATH, backend), FileError);
  assertEquals([error.errno, error.path, asked], [28, PATH, [0]]);
  // Not all that there is until it is not enough: p4d would find the disk full meanwhile.
  assertEquals(takenBlocks, 0);
  threads.close();
  files.close();
  Deno.removeSync(dir, { recursive: true });
});
