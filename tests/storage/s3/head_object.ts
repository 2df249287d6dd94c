/** Prints the size of an object, or the kind of failure; a process of its own has its own environment. @module */

import { StorageError } from "../../../src/storage/backend.ts";
import { openS3 } from "../../../src/storage/s3/s3_open.ts";
import { never, textPath } from "../contents.ts";
import { s3Config } from "../versitygw.ts";

const backend = await openS3(s3Config(Deno.args[0]!));
try {
  console.log((await backend.head(textPath("x"), never)).size);
} catch (error) {
  console.log(error instanceof StorageError ? error.kind : error);
} finally {
  await backend.close();
}
