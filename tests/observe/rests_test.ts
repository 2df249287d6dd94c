/** When the daemon gives back what a load made it take. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { Rests } from "../../src/observe/rests.ts";

/** A process whose processor time is what the test says. */
class Process {
  cpuMs = 0;
  readonly rests = new Rests(() => this.cpuMs);

  /** Works so much before each of so many looks. @returns At which of them a rest was due; each is taken. */
  work(cpuMs: number, looks: number): number[] {
    const due: number[] = [];
    for (let look = 1; look <= looks; look++) {
      this.cpuMs += cpuMs;
      if (!this.rests.isDue()) continue;
      due.push(look);
      this.cpuMs += 40; // what the rest itself takes
      this.rests.rested();
    }
    return due;
  }
}

Deno.test("a load is over after two seconds without work, once", () => {
  const process = new Process();
  assertEquals(process.work(400, 20), []);
  assertEquals(process.work(1, 200), [4]);
});

Deno.test("a pause that is too short, or after too little work, is no rest", () => {
  const process = new Process();
  process.work(400, 20);
  for (let i = 0; i < 10; i++) assertEquals([process.work(1, 3), process.work(50, 1)], [[], []]);
  assertEquals(process.work(1, 4), [4]);
  process.work(100, 10);
  assertEquals(process.work(1, 200), []);
});

Deno.test("what little work leaves adds up", () => {
  const process = new Process();
  const [first, second] = process.work(5, 1000);
  assertEquals([first, second! - first!], [400, 400]);
});

Deno.test("what was freed at once is worth a rest after any work, one", () => {
  const process = new Process();
  process.work(100, 3);
  process.rests.want();
  assertEquals(process.work(1, 200), [4]);
});
