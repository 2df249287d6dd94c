/** Circles of peers: found wherever they close, and forgotten when they are gone. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { PeerReaders } from "../../src/cluster/peer_readers.ts";

Deno.test("a circle of three is refused where it closes, and its other connections go on", () => {
  const [a, b, c] = ["a", "b", "c"].map((id) => new PeerReaders(id, () => 0)) as [
    PeerReaders,
    PeerReaders,
    PeerReaders,
  ];
  for (let round = 0; round < 3; round++) {
    assert(b.admits(a.text), "a reads from b");
    assert(c.admits(b.text), "b reads from c");
    assertEquals(a.admits(c.text), false, "c reads from a");
  }
  assertEquals(a.text, "a", "who is refused does not count as a reader");
});

Deno.test("a reader that asks no more is forgotten; an older program that says nothing is admitted", () => {
  let nowMs = 0;
  const here = new PeerReaders("here", () => nowMs);
  assert(here.admits(null));
  assert(here.admits("there"));
  assertEquals(here.text, "here,there");
  nowMs = 600_001;
  assertEquals(here.text, "here");
});

Deno.test("what a request says of its readers takes no memory beyond a bound", () => {
  const here = new PeerReaders("here", () => 0);
  assert(here.admits(Array.from({ length: 9999 }, (_, i) => `id-${i}`).join(",")));
  assert(here.admits("x".repeat(100_000)));
  assertEquals(here.text.split(",").length, 65);
});
