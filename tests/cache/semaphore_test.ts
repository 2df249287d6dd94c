/** The counting semaphore. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { Semaphore } from "../../src/cache/semaphore.ts";

Deno.test("a semaphore made larger lets waiters in, made smaller it lets holders finish", async () => {
  const semaphore = new Semaphore(1);
  let entered = 0;
  const enter = () => void semaphore.acquire().then(() => entered++);
  const settle = () => new Promise((resolve) => setTimeout(resolve, 0));
  for (let i = 0; i < 5; i++) enter();
  await settle();
  assertEquals([entered, semaphore.pending], [1, 5]);
  semaphore.resize(3);
  await settle();
  assertEquals([entered, semaphore.pending], [3, 5]);
  semaphore.resize(1);
  semaphore.release();
  semaphore.release();
  await settle();
  assertEquals([entered, semaphore.pending], [3, 3]);
  semaphore.release();
  await settle();
  assertEquals([entered, semaphore.pending], [4, 2]);
});
