/** A directory in which only the names count. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { DepotFiles } from "../../ffi/files.ts";
import { FileError } from "../../ffi/file_error.ts";

/** More than an inode of ext4 may have. */
const MANY = 65_010;

Deno.test("names come and go, as many as are wanted, and none twice", async () => {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "names" });
  try {
    Deno.mkdirSync(`${dir}/n`);
    const files = new DepotFiles(dir);
    const names = files.names("n");
    const all = Array.from({ length: MANY }, (_, i) => String(i));
    for (const name of all) names.add(name);
    const listed = () => Array.from(Deno.readDirSync(`${dir}/n`), ({ name }) => name).length;
    assertEquals(listed(), MANY + 1);
    assertThrows(() => names.add("7"), FileError);
    await names.remove([...all, "never there"]);
    await names.remove([]);
    assertEquals(listed(), 1);
    files.close();
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
