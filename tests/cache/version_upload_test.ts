/** What a file that cannot be read says of the depot. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { EACCES, EIO, EMFILE, EPERM, EROFS } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import { conditionOf } from "../../src/cache/version_upload.ts";
import { stateOf } from "../../src/observe/health_watch.ts";

const LIMITS = {
  healthDirtyAgeSeconds: 0,
  healthFailurePercent: 0,
  healthBackendDownSeconds: 0,
  healthDiskFreePercent: 0,
};

Deno.test("a file of another user's is a matter of rights, all else is the disk's", () => {
  const state = (errno: number) => {
    const name = conditionOf(new FileError(errno, "open", "a,v"));
    return [name, stateOf([{ name, reason: "", sinceMs: 0 }], LIMITS, 0)];
  };
  for (const errno of [EACCES, EPERM]) assertEquals(state(errno), ["depot_denied", "degraded"]);
  for (const errno of [EIO, EROFS, EMFILE]) assertEquals(state(errno), ["depot_io", "failing"]);
  assertEquals(conditionOf(new Error("?")), "depot_io");
});
