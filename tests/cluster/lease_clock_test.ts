/** The clock by which a daemon knows how long it may write. @module */

import { assert, assertAlmostEquals, assertEquals } from "deno-std/assert/mod.js";
import { machineClock } from "../../src/cluster/lease_clock.ts";

/** A machine whose two clocks are read in steps of a millisecond, each with steps of its own. */
class Machine {
  #awakeMs = 0;
  #wallAheadMs = 1_000_000;
  readonly clock = machineClock(
    () => Math.floor(this.#awakeMs),
    () => Math.floor(this.#awakeMs + this.#wallAheadMs + 0.5),
  );

  run(ms: number): void {
    this.#awakeMs += ms;
  }

  sleep(ms: number): void {
    this.#wallAheadMs += ms;
  }
}

Deno.test("P1: the holder's clock goes as fast as time, however often it is asked", () => {
  const machine = new Machine();
  const begunMs = machine.clock.holderMs();
  for (let asked = 0; asked < 500_000; asked++) {
    machine.run(0.2);
    machine.clock.holderMs();
  }
  assertAlmostEquals(machine.clock.holderMs() - begunMs, 100_000, 101);
});

Deno.test("the machine's own clocks go at one speed for who asks all the time", () => {
  const clock = machineClock();
  const begunMs = clock.nowMs(), holderBegunMs = clock.holderMs();
  while (clock.nowMs() - begunMs < 300) clock.holderMs();
  const wentMs = clock.nowMs() - begunMs;
  assertAlmostEquals(clock.holderMs() - holderBegunMs, wentMs, 101);
});

Deno.test("P1: time that the machine slept counts for a holder, and for nobody who waits", () => {
  const machine = new Machine(), { clock } = machine;
  const begunMs = clock.holderMs(), waitsSinceMs = clock.nowMs();
  machine.run(1000);
  machine.sleep(45_000);
  assertAlmostEquals(clock.holderMs() - begunMs, 46_000, 2);
  assertEquals(clock.nowMs() - waitsSinceMs, 1000);
  for (let naps = 0; naps < 100; naps++) {
    machine.sleep(50);
    clock.holderMs();
  }
  assertAlmostEquals(clock.holderMs() - begunMs, 51_000, 101);
});

Deno.test("P1: a wall clock that is set back takes nothing away, and set forward again it counts", () => {
  const machine = new Machine(), { clock } = machine;
  const begunMs = clock.holderMs();
  machine.sleep(-3_600_000);
  machine.run(10);
  const setBackMs = clock.holderMs();
  assert(setBackMs >= begunMs && setBackMs < begunMs + 100);
  machine.sleep(3_600_000);
  assert(clock.holderMs() >= begunMs + 3_600_000);
});
