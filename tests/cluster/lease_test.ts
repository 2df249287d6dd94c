/**
 * One writer: leases that are taken, kept, lost and taken over, with clocks and storage that misbehave.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { LEASE_PATH } from "../../src/cluster/lease_record.ts";
import type { Certain } from "../../src/cluster/lease_store.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { contentOf, never, someBytes } from "../storage/contents.ts";
import { settle, TTL_SECONDS, World } from "./lease_world.ts";

/** Longer than anything that follows from the time to live. */
const LONG = 3 * TTL_SECONDS;

const KINDS: readonly [string, Certain, Certain][] = [
  ["", "all", "all"],
  [", where the storage replaces blindly", "first", "first"],
  [", where the storage pays no heed to conditions", "none", "none"],
  [", where the storage pays no heed to conditions, and does not say so", "none", "all"],
];

for (const [kind, heeds, said] of KINDS) {
  const test = (promise: string, check: (world: World) => Promise<void>) =>
    Deno.test(`${promise}${kind}`, async () => {
      const world = new World(heeds, said);
      try {
        await check(world);
      } finally {
        await world.end();
      }
    });

  test("a daemon alone may write, and goes on doing so", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    assertEquals(a.started, null);
    for (let i = 0; i < 10; i++) {
      await world.pass(TTL_SECONDS / 2);
      assert(a.right.isHeld);
    }
    assertEquals(a.losses, []);
    assertEquals(world.record().host, "host-a");
  });

  test("a second daemon refuses, and says who holds the lease", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    const b = world.daemon("b");
    await world.pass(LONG);
    assertStringIncludes(b.started!.message, "host-a (pid 1");
    assertStringIncludes(b.started!.message, "--take-over");
    assert(a.right.isHeld);
    assert(!b.right.isHeld);
  });

  test("the same installation has its lease back at once after a crash", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.crash();
    const again = world.daemon("again", { holder: "a" });
    await world.pass(1);
    assert(again.right.isHeld);
    assertEquals(world.record().epoch, 2);
  });

  test("a lease whose holder is gone is free when it has expired, not before", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.crash();
    const b = world.daemon("b");
    await world.pass(TTL_SECONDS - 1);
    assertEquals(b.started, null, "it serves what is here meanwhile");
    assert(!b.right.isHeld);
    assert(b.health.isRaised("lease_waiting"));
    await world.pass(LONG);
    assert(b.right.isHeld);
    assert(!b.health.isRaised("lease_waiting"));
  });

  test("who takes over waits until the one before has certainly stopped", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    const b = world.daemon("b", { takeOver: true });
    await world.pass(TTL_SECONDS - 1);
    assertEquals(b.started, null);
    assert(!b.right.isHeld);
    assertEquals(a.right.state, "fenced");
    assertStringIncludes(a.right.why, "host-b");
    assert(a.health.isRaised("fenced"));
    await world.pass(2);
    assert(b.right.isHeld);
  });

  test("taking over from a daemon that is cut off never makes two writers", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.line.cut();
    const b = world.daemon("b", { takeOver: true });
    await world.pass(LONG);
    assertEquals(a.right.state, "suspended");
    assert(b.right.isHeld);
    a.line.mend();
    await world.pass(TTL_SECONDS);
    assertEquals(a.right.state, "fenced");
    assert(b.right.isHeld);
  });

  test("a crash while it takes over is no way around the wait", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.line.cut();
    const b = world.daemon("b", { takeOver: true });
    await world.pass(1);
    b.crash();
    const again = world.daemon("again", { holder: "b" });
    await world.pass(TTL_SECONDS - 1);
    assert(!again.right.isHeld);
    await world.pass(2);
    assert(again.right.isHeld);
  });

  test("nor is a stop while it takes over, for whoever comes next", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.line.cut();
    const b = world.daemon("b", { takeOver: true });
    await world.pass(1);
    await b.lease.release();
    assertEquals(world.record().released, true);
    const c = world.daemon("c");
    await world.pass(TTL_SECONDS - 1);
    assert(!c.right.isHeld);
    await world.pass(2);
    assert(c.right.isHeld);
  });

  test("a holder that could not renew stops, and goes on when nobody came", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.line.cut();
    await world.pass(TTL_SECONDS);
    assertEquals(a.right.state, "suspended");
    assert(a.health.isRaised("lease_waiting"));
    const held = a.right.whenHeld();
    a.line.mend();
    await world.pass(TTL_SECONDS / 4);
    assertEquals(a.right.state, "held");
    await held;
    assertEquals(a.losses.length, 1);
  });

  test("a holder that comes back after another one has left stays fenced", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.line.cut();
    const b = world.daemon("b");
    await world.pass(LONG);
    assert(b.right.isHeld);
    await b.lease.release();
    a.line.mend();
    await world.pass(LONG);
    assertEquals(a.right.state, "fenced");
    assertEquals(a.losses.length, 2);
  });

  test("a machine that slept does not go on where it was", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.sleep(TTL_SECONDS);
    assertEquals(a.right.state, "suspended");
    await world.pass(TTL_SECONDS);
    assertEquals(a.right.state, "held");
  });

  test("an answer that is lost does not cost the lease", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    const lost = new StorageError("transient", "Cannot tell: the answer is lost");
    a.line.after = (operation) => {
      if (operation === "put") throw lost;
    };
    await world.pass(TTL_SECONDS / 2);
    assert(a.right.isHeld, "until the last one that was answered no longer counts");
    await world.pass(TTL_SECONDS / 2);
    assertEquals(a.right.state, "suspended");
    // The versions that were stored meanwhile are seen by others: to them the holder lives.
    const b = world.daemon("b");
    await world.pass(TTL_SECONDS / 2);
    assert(b.started instanceof Error);
    a.line.after = () => {};
    await world.pass(TTL_SECONDS / 2);
    assertEquals(a.right.state, "held");
  });

  test("a lease that was removed by hand is written again", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    world.bucket.objects.delete(LEASE_PATH);
    await world.pass(TTL_SECONDS);
    assert(a.right.isHeld);
    assertEquals(world.record().host, "host-a");
    assertEquals(a.losses, []);
  });

  test("of two newcomers at an expired lease one gets it", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    a.crash();
    const newcomers = [world.daemon("b"), world.daemon("c")];
    await world.pass(2 * LONG);
    assertEquals(newcomers.filter(({ right }) => right.isHeld).length, 1);
  });

  test("of two that take over from one another the last one counts", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    const b = world.daemon("b", { takeOver: true });
    await world.pass(5);
    const c = world.daemon("c", { takeOver: true });
    await world.pass(LONG);
    assertEquals([a, b].map(({ right }) => right.state), ["fenced", "fenced"]);
    assert(c.right.isHeld);
  });

  test("both read before either writes: still one writer", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    await a.lease.release();
    const b = world.daemon("b"), c = world.daemon("c");
    const { promise: bothRead, resolve } = Promise.withResolvers<void>();
    let reads = 0;
    for (const { line } of [b, c]) {
      line.after = async (operation) => {
        if (operation !== "get" || ++reads > 2) return;
        if (reads === 2) resolve();
        await bothRead;
      };
    }
    await world.pass(LONG);
    assertEquals([b, c].filter(({ right }) => right.isHeld).length, 1);
  });

  test("storage that cannot be reached does not keep the daemon from starting", async (world) => {
    const a = world.daemon("a");
    a.line.cut();
    await world.pass(5);
    assertEquals(a.started, null);
    assert(!a.right.isHeld);
    a.line.mend();
    await world.pass(LONG);
    assert(a.right.isHeld);
  });

  test("storage that is reached later, and has another writer, fences who started", async (world) => {
    const a = world.daemon("a");
    await world.pass(LONG);
    const b = world.daemon("b");
    b.line.cut();
    await world.pass(5);
    assertEquals(b.started, null);
    b.line.mend();
    await world.pass(LONG);
    assertEquals(b.right.state, "fenced");
    assert(a.right.isHeld);
  });

  test("an object that makes no sense counts as somebody's lease", async (world) => {
    await world.bucket.put(LEASE_PATH, contentOf(someBytes(10)), never);
    const a = world.daemon("a");
    await world.pass(TTL_SECONDS - 1);
    assert(!a.right.isHeld);
    await world.pass(LONG);
    assert(a.right.isHeld);
  });

  test("no interleaving of faults makes two writers", async () => {
    for (let seed = 1; seed <= 40; seed++) await hostileDay(seed, heeds, said);
  });
}

/** Daemons come, crash, are cut off, lose answers and take over from one another, at random. */
async function hostileDay(seed: number, heeds: Certain, said: Certain): Promise<void> {
  const world = new World(heeds, said);
  let state = seed * 2_654_435_761 >>> 0 || 1;
  const random = (below: number) => {
    state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
    return (state >>> 0) % below;
  };
  const lost = new StorageError("transient", "Cannot tell: the answer is lost");
  try {
    for (let i = 0; i < 40; i++) {
      const living = world.daemons.filter((each) => !each.isCrashed);
      const one = living[random(Math.max(1, living.length))];
      switch (random(8)) {
        case 0:
          world.daemon(`d${i}`, { takeOver: random(2) === 0 });
          break;
        case 1:
          one?.crash();
          if (one !== undefined) world.daemon(`again${i}`, { holder: one.name });
          break;
        case 2:
          one?.line.cut();
          break;
        case 3:
          one?.line.mend();
          break;
        case 4:
          if (one !== undefined) {
            const slow = random(TTL_SECONDS), ofThese = random(2) === 0 ? "put" : "get";
            one.line.before = (name) =>
              name === ofThese ? world.pause(slow * 1000, never) : undefined;
          }
          break;
        case 5:
          if (one !== undefined) {
            one.line.after = () => {
              if (random(2) === 0) throw lost;
            };
          }
          break;
        case 6:
          if (one !== undefined) one.line.before = one.line.after = () => {};
          break;
        default:
          one?.sleep(random(TTL_SECONDS));
      }
      await settle();
      await world.pass(random(TTL_SECONDS));
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`);
  } finally {
    await world.end();
  }
}

Deno.test("a server that knows no conditions is written to without, and waited for", async () => {
  const world = new World("none", "all");
  const start = (name: string, takeOver = false) => {
    const daemon = world.daemon(name, { takeOver });
    daemon.line.refusesConditions = true;
    return daemon;
  };
  const a = start("a");
  await world.pass(TTL_SECONDS - 1);
  assertEquals([a.started, a.right.isHeld], [null, false]);
  await world.pass(TTL_SECONDS);
  assert(a.right.isHeld);
  const b = start("b");
  await world.pass(TTL_SECONDS);
  assert(b.started instanceof Error);
  const c = start("c", true);
  await world.pass(2 * TTL_SECONDS);
  assertEquals([a.right.state, c.right.state], ["fenced", "held"]);
  await world.end();
});

Deno.test("storage that refuses to keep the lease is worked with, unless it is required", async () => {
  for (const isRequired of [false, true]) {
    const world = new World();
    const a = world.daemon("a", { isRequired });
    a.line.cut(new StorageError("denied", "Cannot read .p4cache/lease: no permission"));
    await world.pass(1);
    if (isRequired) {
      assertStringIncludes(a.started!.message, "set lease to off");
      assert(!a.right.isHeld);
    } else {
      assertEquals(a.started, null);
      assertEquals(a.right.state, "none");
      assert(a.right.isHeld);
    }
    await world.end();
  }
});
