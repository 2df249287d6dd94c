/** A backend that is replaced while it is used. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Backend } from "../../src/storage/backend.ts";
import { ReplaceableBackend } from "../../src/storage/replaceable.ts";

const PATH = "a" as DepotPath;
const SIGNAL = new AbortController().signal;

/** A backend that answers when it is told to, and says when it is closed. */
function slowBackend(name: string, told: string[]) {
  const answer = Promise.withResolvers<void>();
  const backend = {
    label: name,
    head: async () => {
      await answer.promise;
      told.push(`${name} answered`);
    },
    close: () => Promise.resolve(void told.push(`${name} closed`)),
  };
  return { backend: backend as unknown as Backend, answer: () => answer.resolve() };
}

Deno.test("what began with the old backend ends with it; then it is closed, not before", async () => {
  const told: string[] = [];
  const old = slowBackend("old", told), next = slowBackend("new", told);
  const backend = new ReplaceableBackend(old.backend);
  const first = backend.head(PATH, SIGNAL);
  backend.replace(next.backend);
  assertEquals(backend.label, "new");
  const second = backend.head(PATH, SIGNAL);
  next.answer();
  await second;
  assertEquals(told, ["new answered"]);
  old.answer();
  await first;
  assertEquals(told, ["new answered", "old answered", "old closed"]);
  await backend.close();
  assertEquals(told.at(-1), "new closed");
});

Deno.test("an idle backend is closed as soon as it is replaced", () => {
  const told: string[] = [];
  const backend = new ReplaceableBackend(slowBackend("old", told).backend);
  backend.replace(slowBackend("new", told).backend);
  assertEquals(told, ["old closed"]);
});
