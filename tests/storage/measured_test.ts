/** The measuring decorator: the contract, and what the metrics say. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { Registry } from "prom-client";
import { BackendMetrics } from "../../src/observe/backend_metrics.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { MeasuredBackend } from "../../src/storage/measured.ts";
import { conformance, fails, paths } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { MemoryBackend } from "./memory_backend.ts";

const PATH = textPath("a/b");

conformance("measured", null, () =>
  Promise.resolve({
    backend: new MeasuredBackend(new MemoryBackend(), new BackendMetrics().recorder("primary")),
    leftovers: () => Promise.resolve([]),
    end: () => Promise.resolve(),
  }));

/** A measured backend in memory, and what its metrics say. */
function measured() {
  const inner = new MemoryBackend();
  const metrics = new BackendMetrics();
  const registry = new Registry();
  metrics.register(registry);
  const backend = new MeasuredBackend(inner, metrics.recorder("primary"));
  const told = async (series: string) =>
    assertStringIncludes(await registry.metrics(), `p4cache_backend_${series}\n`);
  return { inner, metrics, backend, told };
}

Deno.test("measured: operations, bytes and failures by kind are counted", async () => {
  const { inner, backend, told } = measured();
  await backend.put(PATH, contentOf(someBytes(10)), never);
  await backend.getRange(PATH, 2, 3, { signal: never });
  await fails("absent", () => backend.head(textPath("none"), never));
  await paths(backend, "");
  inner.fault = () => {
    throw new StorageError("throttled", "slow down");
  };
  await fails("throttled", () => backend.put(PATH, contentOf(someBytes(5)), never));
  await fails("throttled", () => paths(backend, ""));
  await told(`bytes_total{backend="primary",direction="sent"} 10`);
  await told(`bytes_total{backend="primary",direction="received"} 3`);
  await told(`request_duration_seconds_count{backend="primary",operation="put"} 2`);
  await told(`request_duration_seconds_count{backend="primary",operation="list"} 2`);
  await told(`request_duration_seconds_count{backend="primary",operation="copy"} 0`);
  await told(`errors_total{backend="primary",operation="put",kind="throttled"} 1`);
  await told(`errors_total{backend="primary",operation="list",kind="throttled"} 1`);
  await told(`errors_total{backend="primary",operation="head",kind="absent"} 1`);
  await told(`throttles_total{backend="primary"} 2`);
  await told(`in_flight{backend="primary"} 0`);
});

Deno.test("measured: what is under way is told, and what we stop is no failure", async () => {
  const { inner, backend, told, metrics } = measured();
  const controller = new AbortController();
  inner.fault = () => new Promise((resolve) => controller.signal.onabort = () => resolve());
  const stopping = fails("transient", () => backend.head(PATH, controller.signal));
  await told(`in_flight{backend="primary"} 1`);
  controller.abort();
  await stopping;
  await told(`in_flight{backend="primary"} 0`);
  await told(`request_duration_seconds_count{backend="primary",operation="head"} 1`);
  let open = true;
  metrics.watchCircuit("primary", () => open);
  await told(`unreachable{backend="primary"} 1`);
  open = false;
  await told(`unreachable{backend="primary"} 0`);
});

Deno.test("measured: a listing that is left early is counted once", async () => {
  const { backend, told } = measured();
  for (const name of ["a", "b"]) await backend.put(textPath(name), contentOf(someBytes(1)), never);
  for await (const _ of backend.list("", never)) break;
  await told(`request_duration_seconds_count{backend="primary",operation="list"} 1`);
  await told(`in_flight{backend="primary"} 0`);
});

Deno.test("the metrics of two backends are apart", () => {
  const metrics = new BackendMetrics();
  metrics.recorder("primary");
  metrics.recorder("secondary");
  const registry = new Registry();
  metrics.register(registry);
  assertEquals(registry.getMetricsAsArray().length, 7);
});
