/** The gate that limits rates, on a clock of its own. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { type Clock, RateGate } from "../../src/storage/rate_gate.ts";
import { never } from "./contents.ts";

/** A clock that the test turns. */
class TestClock implements Clock {
  now = 0;
  readonly #calls: { atMs: number; call: () => void }[] = [];

  nowMs(): number {
    return this.now;
  }

  after(ms: number, call: () => void): void {
    this.#calls.push({ atMs: this.now + ms, call });
  }

  /** Goes on by so many ms, with everything due on the way. */
  async tick(ms: number): Promise<void> {
    const endMs = this.now + ms;
    for (;;) {
      const due = this.#calls.sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined || due.atMs > endMs) break;
      this.#calls.shift();
      this.now = Math.max(this.now, due.atMs);
      due.call();
      // Those let through note their time before it goes on.
      await new Promise((resolve) => setTimeout(resolve));
    }
    this.now = endMs;
  }
}

/** Enters the gate so many times; the list fills with the seconds at which each came through. */
function enterAll(
  gate: RateGate,
  time: TestClock,
  count: number,
  units: number,
  isUrgent = false,
  signal = never,
): { passed: number[] } {
  const startMs = time.now;
  const passed: number[] = [];
  for (let i = 0; i < count; i++) {
    void gate.enter(units, isUrgent, signal).then(() => passed.push((time.now - startMs) / 1000));
  }
  return { passed };
}

for (const [rate, units] of [[100, 1], [100, 500], [1000, 300], [1, 1]] as const) {
  Deno.test(`${rate} a second hold on average when ${units} are taken at once`, async () => {
    const time = new TestClock();
    const gate = new RateGate(() => rate, time);
    const { passed } = enterAll(gate, time, 3000, units);
    const seconds = 20;
    await time.tick(seconds * 1000);
    const taken = passed.length * units;
    const burst = Math.max(1, rate / 4) + units;
    assert(taken <= rate * seconds + burst, `${taken} were let through`);
    assert(taken >= rate * seconds * 0.95 - units, `only ${taken} were let through`);
  });
}

Deno.test("without limit nobody waits, and a limit that begins later is kept", async () => {
  const time = new TestClock();
  let rate = Infinity;
  const gate = new RateGate(() => rate, time);
  for (let i = 0; i < 1000; i++) await gate.enter(1_000_000, false, never);
  rate = 10;
  const { passed } = enterAll(gate, time, 100, 10);
  await time.tick(3000);
  assert(passed.length >= 2 && passed.length <= 5, `${passed.length}`);
  rate = Infinity;
  await time.tick(1100);
  assertEquals(passed.length, 100);
});

Deno.test("urgent ones go first, and ordinary ones are not kept waiting for ever", async () => {
  const time = new TestClock();
  const gate = new RateGate(() => 10, time);
  const order: string[] = [];
  const enter = (name: string, isUrgent: boolean) =>
    void gate.enter(1, isUrgent, never).then(() => order.push(name));
  for (let i = 0; i < 12; i++) enter("ordinary", false);
  for (let i = 0; i < 30; i++) enter("urgent", true);
  await time.tick(2500);
  // The first few were let through before anything was urgent.
  const later = order.slice(order.indexOf("urgent"));
  assertEquals(later.slice(0, 7), Array(7).fill("urgent"));
  assertEquals(later[7], "ordinary");
});

Deno.test("small ones go before a large one, until seven times its units have gone", async () => {
  const time = new TestClock();
  const gate = new RateGate(() => 100, time);
  const passed: string[] = [];
  const enter = (units: number, isUrgent: boolean, name: string) =>
    void gate.enter(units, isUrgent, never).then(() => passed.push(name));
  enter(100, false, "opens, and leaves a debt");
  for (let i = 0; i < 2; i++) enter(50, false, "slice");
  for (let i = 0; i < 500; i++) enter(1, true, "small");
  await time.tick(20_000);
  assertEquals(passed.indexOf("slice"), 1 + 7 * 50);
  assertEquals(passed.lastIndexOf("slice"), passed.length - 1, "the next one waits for as many");
});

Deno.test("a wait ends when the signal is aborted, and takes nothing from those behind", async () => {
  const time = new TestClock();
  const gate = new RateGate(() => 1, time);
  await gate.enter(5, false, never);
  const controller = new AbortController();
  const aborted = gate.enter(1000, false, controller.signal);
  const { passed } = enterAll(gate, time, 1, 1);
  controller.abort();
  await aborted;
  assertEquals(gate.waiting, 1);
  await time.tick(6000);
  assertEquals(passed.length, 1);
});

Deno.test("what was taken too much is given back", async () => {
  const time = new TestClock();
  const gate = new RateGate(() => 100, time);
  await gate.enter(1000, false, never);
  gate.charge(-1000);
  const { passed } = enterAll(gate, time, 1, 1);
  await time.tick(10);
  assertEquals(passed.length, 1);
});
