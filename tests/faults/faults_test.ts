/**
 * Each fault of the network before each backend: what is stored in the end is right and whole, nothing
 * wrong is delivered, and what fails meanwhile says so.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import type { DepotPath } from "../../src/depot_path.ts";
import { type Backend, SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { RetryingBackend, type RetryOptions } from "../../src/storage/retrying.ts";
import { contentOf, never, someBytes, textPath } from "../storage/contents.ts";
import { type FaultyServer, KINDS } from "./servers.ts";
import { type Toxic, Toxiproxy, toxiproxyBinary } from "./toxiproxy.ts";

const proxyBinary = toxiproxyBinary();
if (proxyBinary === null) console.log("tests of faults are skipped: no toxiproxy-server");

/** Patient enough for a fault that comes and goes, quick enough for a test. */
const RETRIES: RetryOptions = {
  attempts: 3,
  backoff: { firstMs: 20, maxMs: 200 },
  failuresToOpen: 6,
  open: { firstMs: 50, maxMs: 200 },
};

/** Tries of one operation, each with its retries, before the test gives up. */
const PATIENCE = 100;

/** Small objects, one of exactly a slice, one of several. */
const OBJECTS: ReadonlyMap<DepotPath, Uint8Array<ArrayBuffer>> = new Map([
  ...Array.from(
    { length: 24 },
    (_, i) => [textPath(`small/${i},v`), someBytes(i * 997, i + 1)] as const,
  ),
  [textPath("large/one"), someBytes(SLICE_BYTES, 100)],
  [textPath("large/several"), someBytes(SLICE_BYTES + 1_234_567, 101)],
]);

interface Fault {
  readonly name: string;
  readonly toxics: readonly Toxic[];
  /**
   * `slow`: no operation fails. `some`: a share of the connections fails, and retries get through.
   * `all`: nothing gets through, until the fault is taken away after some failures.
   */
  readonly severity: "slow" | "some" | "all";
}

const both = (type: string, attributes: Record<string, number>, toxicity = 1): Toxic[] =>
  (["upstream", "downstream"] as const).map((stream) => ({ type, stream, attributes, toxicity }));
const down = (type: string, attributes: Record<string, number>, toxicity = 1): Toxic[] => [
  { type, stream: "downstream", attributes, toxicity },
];
const up = (type: string, attributes: Record<string, number>, toxicity = 1): Toxic[] => [
  { type, stream: "upstream", attributes, toxicity },
];

const FAULTS: readonly Fault[] = [
  {
    name: "latency and jitter",
    toxics: both("latency", { latency: 40, jitter: 40 }),
    severity: "slow",
  },
  { name: "little bandwidth", toxics: both("bandwidth", { rate: 8000 }), severity: "slow" },
  {
    name: "packets in crumbs",
    toxics: both("slicer", { average_size: 9000, delay: 5 }),
    severity: "slow",
  },
  {
    name: "connections that close slowly",
    toxics: both("slow_close", { delay: 300 }),
    severity: "slow",
  },
  {
    name: "some connections that are reset",
    toxics: down("reset_peer", { timeout: 30 }, 0.4),
    severity: "some",
  },
  {
    name: "some answers that are cut",
    toxics: down("limit_data", { bytes: 2000 }, 0.4),
    severity: "some",
  },
  {
    name: "some requests that are cut",
    toxics: up("limit_data", { bytes: 3000 }, 0.4),
    severity: "some",
  },
  {
    name: "some connections that go dead",
    toxics: down("timeout", { timeout: 200 }, 0.4),
    severity: "some",
  },
  {
    name: "only connections that are reset",
    toxics: up("reset_peer", { timeout: 0 }),
    severity: "all",
  },
  { name: "only answers that are cut", toxics: down("limit_data", { bytes: 20 }), severity: "all" },
  {
    name: "only connections that go dead",
    toxics: both("timeout", { timeout: 100 }),
    severity: "all",
  },
];

/** Counts what failed, and keeps the words. */
class Failures {
  readonly messages: string[] = [];

  /** Repeats the call until it succeeds; only failures that may pass are allowed. */
  async until<T>(call: () => Promise<T>): Promise<T> {
    for (let tries = 1;; tries++) {
      try {
        return await call();
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.messages.push(error.message);
        const mayPass = error.kind === "transient" || error.kind === "throttled";
        if (!mayPass || tries === PATIENCE) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

async function storeAll(backend: Backend, failures: Failures): Promise<void> {
  await Promise.all(
    Array.from(
      OBJECTS,
      ([path, bytes]) => failures.until(() => backend.put(path, contentOf(bytes), never)),
    ),
  );
}

/** Reads every object in slices, each held to what was stored. */
async function readAll(backend: Backend, failures: Failures): Promise<void> {
  await Promise.all(Array.from(OBJECTS, async ([path, bytes]) => {
    for (let at = 0; at === 0 || at < bytes.length; at += SLICE_BYTES) {
      const got = await failures.until(() =>
        backend.getRange(path, at, SLICE_BYTES, { signal: never })
      );
      assertEquals(got.info.size, bytes.length, path);
      const wanted = bytes.subarray(at, at + SLICE_BYTES);
      assert(Buffer.compare(got.bytes, wanted) === 0, `${path} at ${at} is other than stored`);
    }
  }));
}

async function faulty(
  fault: Fault,
  proxy: Toxiproxy,
  failures: Failures,
  work: () => Promise<void>,
): Promise<void> {
  await proxy.add(fault.toxics);
  const working = work();
  if (fault.severity === "all") {
    const before = failures.messages.length;
    const failed = async () => {
      while (failures.messages.length < before + 5) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await Promise.race([working, failed()]);
  } else {
    await working;
  }
  await proxy.heal();
  await working;
}

/** What is there when all is over, seen past the proxy. */
async function checkStored(server: FaultyServer): Promise<void> {
  const direct = await openBackend(server.config(server.address));
  try {
    await readAll(direct, new Failures());
    const listed: string[] = [];
    for await (const { path } of direct.list("", never)) listed.push(path);
    assertEquals(listed, [...OBJECTS.keys()].sort());
  } finally {
    await direct.close();
  }
}

for (const kind of KINDS) {
  const missing = proxyBinary === null ? "no toxiproxy-server" : kind.missing;
  if (kind.missing !== null) console.log(`faults before ${kind.name}: skipped, ${kind.missing}`);
  for (const fault of FAULTS) {
    Deno.test({
      name: `${kind.name}: nothing is lost or wrong with ${fault.name}`,
      ignore: missing !== null,
      fn: async () => {
        const server = await kind.start();
        const proxy = await Toxiproxy.start(proxyBinary!, server.address);
        const inner = await openBackend(server.config(proxy.address));
        const backend = new RetryingBackend(inner, RETRIES);
        const failures = new Failures();
        try {
          await faulty(fault, proxy, failures, () => storeAll(backend, failures));
          await faulty(fault, proxy, failures, () => readAll(backend, failures));
          await checkStored(server);
          if (fault.severity !== "slow") return;
          assertEquals(failures.messages, []);
          // In the others nobody may have learnt the id of an upload that was begun.
          assertEquals(server.leftovers(), []);
        } finally {
          await backend.close();
          await proxy.end();
          await server.end();
        }
      },
    });
  }
}
