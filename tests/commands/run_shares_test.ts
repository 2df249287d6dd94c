/** How depots share bandwidth and memory. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Budgets } from "../../src/commands/run_budgets.ts";
import type { DepotProcess } from "../../src/commands/run_depot.ts";
import { divide, grants, NO_LIMIT, type Shares } from "../../src/commands/run_shares.ts";

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

Deno.test("depots that want more share alike, and what idle ones leave goes to them", () => {
  const busy = { used: 10, isWaiting: true }, idle = { used: 0, isWaiting: false };
  assertEquals(divide(900, [busy, busy, busy]), [300, 300, 300]);
  assertEquals(divide(900, [busy, idle, idle]), [840, 30, 30]);
  assertEquals(divide(900, [busy, { used: 100, isWaiting: false }, idle]), [720, 150, 30]);
  assertEquals(divide(900, [idle, idle, idle]), [300, 300, 300]);
  assertEquals(divide(900, []), []);
});

Deno.test("shares together are never more than the total, whatever is used", () => {
  for (let round = 0; round < 200; round++) {
    const uses = Array.from({ length: 1 + round % 7 }, () => ({
      used: Math.floor(Math.random() * 2000),
      isWaiting: Math.random() < 0.3,
    }));
    const shares = divide(1000, uses);
    assert(
      sum(shares) <= 1000 && sum(shares) > 1000 - uses.length,
      JSON.stringify({ uses, shares }),
    );
    assert(shares.every((share) => share > 0), JSON.stringify({ uses, shares }));
  }
});

Deno.test("more is given only from what others have given back", () => {
  assertEquals(grants(100, [90, 10], [50, 50]), [50, 10]);
  assertEquals(grants(100, [90, 10], [50, 10]), [90, 10]);
  assertEquals(grants(100, [60, 40], [0, 100]), [0, 40]);
});

/** A depot whose daemon takes its share only when it says so. */
class FakeDepot {
  pid: number | null = 1;
  sent: Shares = NO_LIMIT;
  known: Shares = NO_LIMIT;
  upBytes = 0;
  waits = false;

  get held(): Shares {
    if (this.pid === null) return { up: 0, down: 0, memory: 0 };
    return { up: Math.max(this.sent.up ?? 0, this.known.up ?? 0), down: 0, memory: 0 };
  }

  get report() {
    const isWaiting = { up: this.waits, down: false, memory: false };
    return { state: "healthy", upBytes: this.upBytes, downBytes: 0, memoryBytes: 0, isWaiting };
  }

  share(shares: Shares): void {
    this.sent = shares;
  }
}

Deno.test("a busy depot gets what the others leave once they know it, and gives it back", () => {
  let nowMs = 0;
  const total = { up: 1000, down: null, memory: null };
  const budgets = new Budgets(() => total, () => nowMs);
  const fakes = [new FakeDepot(), new FakeDepot()], [a, b] = fakes as [FakeDepot, FakeDepot];
  const depots = fakes as unknown as DepotProcess[];
  const look = (...answering: FakeDepot[]) => {
    nowMs += 1000;
    for (const fake of fakes) fake.upBytes += fake.waits ? fake.known.up ?? 0 : 0;
    budgets.divide(depots);
    assert(sum(fakes.map(({ held }) => held.up!)) <= 1000, "together more than the total");
    for (const fake of answering) fake.known = fake.sent;
  };
  b.sent = b.known = budgets.first([a as unknown as DepotProcess]);
  look(a, b);
  look(a, b);
  assertEquals([a.known.up, b.known.up], [500, 500]);
  a.waits = true;
  look(a);
  // b has not answered yet: it may still be using its half.
  assertEquals(a.known.up, 500);
  look(a, b);
  look(a, b);
  assertEquals([a.known.up, b.known.up], [950, 50]);
  b.waits = true;
  for (let i = 0; i < 3; i++) look(a, b);
  assertEquals([a.known.up, b.known.up], [500, 500]);
  b.pid = null;
  look(a);
  look(a);
  assertEquals(a.known.up, 1000);
  assertEquals(a.sent.memory, null);
});
