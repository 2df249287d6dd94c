/** P5: the memory of parts on their way is bounded. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { PartBudget } from "../../src/storage/part_budget.ts";
import { TransferMemory } from "../../src/storage/transfer_memory.ts";

/** Takes, and notes who got what. */
function taker(budget: PartBudget) {
  const got: string[] = [];
  const take = (name: string, bytes: number) =>
    void budget.take(bytes).then((share) => got.push(`${name} ${share}`));
  return { got, take, settle: () => new Promise((resolve) => setTimeout(resolve)) };
}

Deno.test("P5: room is given in the order it was asked for, and a part too large goes alone", async () => {
  const budget = new PartBudget(10);
  const { got, take, settle } = taker(budget);
  take("a", 6);
  take("large", 100);
  take("b", 2);
  await settle();
  assertEquals([got, budget.usedBytes, budget.isWaiting], [["a 6"], 6, true]);
  budget.give(6);
  await settle();
  assertEquals(got, ["a 6", "large 10"]);
  budget.give(10);
  await settle();
  assertEquals([got.at(-1), budget.usedBytes, budget.isWaiting], ["b 2", 2, false]);
});

Deno.test("P5: a limit that is lowered holds from the next part on, and work never stands still", async () => {
  const budget = new PartBudget(100);
  const { got, take, settle } = taker(budget);
  take("a", 60);
  budget.resize(1);
  take("b", 60);
  await settle();
  assertEquals([got, budget.usedBytes], [["a 60"], 60]);
  budget.give(60);
  await settle();
  assertEquals([got.at(-1), budget.usedBytes], ["b 1", 1]);
  budget.give(1);
  budget.resize(100);
  take("c", 60);
  await settle();
  assertEquals([got.at(-1), budget.usedBytes], ["c 60", 60]);
});

Deno.test("a limit over all budgets is divided as their sizes are, and raises none", async () => {
  const small = new PartBudget(100), large = new PartBudget(300);
  const memory = new TransferMemory(() => [small, large]);
  const takeAll = async () => {
    const shares = [await small.take(1000), await large.take(1000)];
    assertEquals(memory.usedBytes, shares[0]! + shares[1]!);
    small.give(shares[0]!);
    large.give(shares[1]!);
    return shares;
  };
  memory.limit(200);
  assertEquals(await takeAll(), [50, 150]);
  memory.limit(4000);
  assertEquals(await takeAll(), [100, 300]);
  memory.limit(0);
  assertEquals(await takeAll(), [1, 1]);
  memory.limit(null);
  assertEquals(await takeAll(), [100, 300]);
});
