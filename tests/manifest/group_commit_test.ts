/** When staged changes are committed. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { type CommitStore, GroupCommit } from "../../src/manifest/group_commit.ts";

/** Lets everything go on that waits for no timer. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

Deno.test("a few changes wait for more of them, many are committed at once", async () => {
  let commits = 0;
  const kv = { apply: () => Promise.resolve(BigInt(++commits)) } as unknown as CommitStore;
  const group = new GroupCommit(kv, { lastTxn: 0n, mapBytes: 1 }, () => {}, () => {});
  const timers: (() => void)[] = [];
  const { setTimeout } = globalThis;
  globalThis.setTimeout = ((call: () => void) => timers.push(call)) as typeof setTimeout;
  try {
    const put = (count: number) => {
      for (let i = 0; i < count; i++) group.put(0, `${i}`, new Uint8Array(1));
    };
    put(1);
    await turns();
    assertEquals([commits, group.pending], [0, 1]);
    timers.shift()!();
    await turns();
    assertEquals([commits, group.pending], [1, 0]);
    put(20_000);
    await turns();
    assertEquals([commits, group.pending], [2, 0]);
  } finally {
    globalThis.setTimeout = setTimeout;
  }
});
