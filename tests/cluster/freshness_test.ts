/**
 * The table of fresh files: what it says, and that others can read it.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { Freshness, PAGE_BYTES, tagOf } from "../../src/cluster/freshness.ts";

const PERIOD_MS = 30_000;
const A = "main/a.c,v" as DepotPath, B = "main/b.c,v" as DepotPath;

class Table {
  readonly page = new Uint8Array(PAGE_BYTES);
  nowMs = 1_800_000_000_000;
  readonly freshness = new Freshness(
    { write: (offset, bytes) => this.page.set(bytes, offset) },
    () => this.nowMs,
    PERIOD_MS,
  );
}

Deno.test("a file is fresh for the period after the look began, and not before one", () => {
  const table = new Table(), { freshness } = table;
  assert(!freshness.isFresh(A));
  const look = freshness.look(A);
  table.nowMs += 1000;
  look.confirm();
  assert(freshness.isFresh(A) && !freshness.isFresh(B));
  table.nowMs += PERIOD_MS - 1001;
  assert(freshness.isFresh(A));
  table.nowMs += 1;
  assert(!freshness.isFresh(A));
});

Deno.test("a change that is told while a look is under way takes it back", () => {
  const { freshness } = new Table();
  const look = freshness.look(A), other = freshness.look(A);
  freshness.forget(A);
  look.confirm();
  other.confirm();
  assert(!freshness.isFresh(A));
  freshness.look(A).confirm();
  assert(freshness.isFresh(A));
  freshness.forget(A);
  assert(!freshness.isFresh(A));
});

Deno.test("a feed that is followed keeps fresh what was looked at since its last gap", () => {
  const table = new Table(), { freshness } = table;
  freshness.look(A).confirm();
  const early = freshness.look(B);
  assert(freshness.isFresh(A));
  freshness.gap();
  early.confirm();
  assert(!freshness.isFresh(A) && !freshness.isFresh(B), "however young");
  table.nowMs += PERIOD_MS;
  freshness.followed(table.nowMs - 1000);
  assert(!freshness.isFresh(A) && !freshness.isFresh(B), "looked at before the gap");
  freshness.look(A).confirm();
  table.nowMs += PERIOD_MS;
  assert(!freshness.isFresh(A), "not followed up to now");
  freshness.followed(table.nowMs - 1000);
  assert(freshness.isFresh(A) && !freshness.isFresh(B));
});

Deno.test("what could not be looked at is not kept fresh by the feed", () => {
  const table = new Table(), { freshness } = table;
  freshness.look(A).confirm(5000);
  assert(freshness.isFresh(A));
  table.nowMs += 5000;
  freshness.followed(table.nowMs);
  assert(!freshness.isFresh(A));
});

Deno.test("a clock that is set back makes nothing fresh for longer", () => {
  const table = new Table(), { freshness } = table;
  freshness.look(A).confirm();
  table.nowMs -= 3_600_000;
  assert(!freshness.isFresh(A));
});

Deno.test("after the last generation the table begins anew", () => {
  const table = new Table(), { freshness } = table;
  freshness.look(A).confirm();
  for (let i = 0; i < 65_536; i++) freshness.gap();
  freshness.followed(table.nowMs);
  assert(!freshness.isFresh(A));
});

Deno.test("the page says what the table does, and nothing once it is closed", () => {
  const { page, freshness } = new Table();
  const view = new DataView(page.buffer);
  assertEquals(new TextDecoder().decode(page.subarray(0, 4)), "P4FR");
  assertEquals(view.getUint32(4, true), PERIOD_MS);
  freshness.look(A).confirm();
  const at = 64 + Number(tagOf(A) % 65_536n) * 16;
  assertEquals(view.getBigUint64(at, true), tagOf(A));
  freshness.close();
  assertEquals(view.getUint32(0, true), 0);
});
