/** When the daemon gives back what a load made it take. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { type ProcessReadings, Rests } from "../../src/observe/rests.ts";

const MIB = 1024 * 1024, AT_REST = 80 * MIB;

/** A daemon whose use of processor and memory is what the test says. */
class FakeProcess implements ProcessReadings {
  readonly rests: Rests;
  #cpuMs = 0;
  #residentBytes = AT_REST;

  constructor() {
    this.rests = new Rests(this);
  }

  cpuMs(): number {
    return this.#cpuMs;
  }

  residentBytes(): number {
    return this.#residentBytes;
  }

  /**
   * Works so long, and takes so much, before each of so many looks.
   * @returns At which of them a rest was due; each is taken, and gives everything back.
   */
  work(looks: number, cpuMs: number, mib = 0): number[] {
    const due: number[] = [];
    for (let look = 1; look <= looks; look++) {
      this.#cpuMs += cpuMs;
      this.#residentBytes += mib * MIB;
      if (!this.rests.isDue()) continue;
      due.push(look);
      this.#cpuMs += 40; // what the rest itself takes
      this.#residentBytes = AT_REST;
      this.rests.rested();
    }
    return due;
  }
}

Deno.test("a load is over after two seconds without work, once", () => {
  const process = new FakeProcess();
  assertEquals(process.work(20, 400, 5), []);
  assertEquals(process.work(200, 1), [4]);
});

Deno.test("a short pause is no rest", () => {
  const process = new FakeProcess();
  process.work(20, 400, 5);
  for (let i = 0; i < 10; i++) assertEquals([process.work(3, 1), process.work(1, 50)], [[], []]);
  assertEquals(process.work(4, 1), [4]);
});

Deno.test("a load that took little memory is no reason to rest, but what it took adds up", () => {
  const process = new FakeProcess();
  process.work(20, 400, 0.5);
  assertEquals(process.work(200, 1), []);
  process.work(20, 400, 0.5);
  assertEquals(process.work(200, 1), [4]);
  assertEquals(process.work(200, 1, 0.25), [64, 128, 192]);
});

Deno.test("what was freed at once is worth a rest whatever was taken, one", () => {
  const process = new FakeProcess();
  process.work(3, 100);
  process.rests.want();
  assertEquals(process.work(200, 1), [4]);
});

Deno.test("what cannot be given back is no reason to rest again", () => {
  const process = new FakeProcess();
  process.work(20, 400, 5);
  process.work(3, 1);
  assertEquals(process.rests.isDue(), true);
  process.rests.rested();
  assertEquals(process.work(200, 1), []);
});
