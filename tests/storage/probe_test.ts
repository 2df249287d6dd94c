/** The probe at start: what each state of a backend comes to. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { createExclusion } from "../../src/cache/exclusion.ts";
import { StorageError, type StorageErrorKind } from "../../src/storage/backend.ts";
import { isProbeObject, probeBackend, type ProbeResult } from "../../src/storage/probe.ts";
import { RetryingBackend } from "../../src/storage/retrying.ts";
import { paths } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { MemoryBackend, type Operation } from "./memory_backend.ts";

/** A backend whose one operation fails. */
function failing(operation: Operation, kind: StorageErrorKind): MemoryBackend {
  const backend = new MemoryBackend();
  backend.fault = (at) => {
    if (at === operation) throw new StorageError(kind, `no ${operation} for you`);
  };
  return backend;
}

function why(result: ProbeResult): string {
  return result.kind === "usable" ? "" : result.why;
}

Deno.test("a backend that works is usable, and keeps nothing", async () => {
  const backend = new MemoryBackend();
  assertEquals(await probeBackend(backend, true, 1000), { kind: "usable" });
  assertEquals(backend.objects.size, 0);
  const operations = backend.calls.map((call) => call.operation);
  assertEquals(operations, ["put", "getRange", "delete"]);
});

Deno.test("nothing is written where nothing may be", async () => {
  const backend = failing("put", "denied");
  assertEquals(await probeBackend(backend, false, 1000), { kind: "usable" });
  assertEquals(backend.calls.map((call) => call.operation), ["getRange"]);
});

for (const kind of ["denied", "permanent", "corrupt", "absent"] as const) {
  Deno.test(`a put or get that is ${kind} refuses the backend, with its words`, async () => {
    for (const operation of ["put", "getRange"] as const) {
      const result = await probeBackend(failing(operation, kind), true, 1000);
      assertEquals([result.kind, why(result)], ["refused", `no ${operation} for you`]);
    }
  });
}

for (const kind of ["transient", "throttled"] as const) {
  Deno.test(`a backend that is ${kind} is unreachable for now`, async () => {
    assertEquals((await probeBackend(failing("put", kind), true, 1000)).kind, "unreachable");
    assertEquals((await probeBackend(failing("getRange", kind), false, 1000)).kind, "unreachable");
  });
}

Deno.test("a read-only backend that is denied is refused", async () => {
  assertEquals((await probeBackend(failing("getRange", "denied"), false, 1000)).kind, "refused");
});

Deno.test("a backend that keeps its objects can be used", async () => {
  const result = await probeBackend(failing("delete", "denied"), true, 1000);
  assertEquals([result.kind, why(result)], ["keeps", "no delete for you"]);
});

Deno.test("a backend that gives back other bytes is refused, and keeps nothing", async () => {
  const backend = new MemoryBackend();
  backend.fault = (operation) => {
    if (operation === "getRange") {
      for (const { bytes } of backend.objects.values()) {
        bytes[0] = 0;
      }
    }
  };
  const result = await probeBackend(backend, true, 1000);
  assertEquals(result.kind, "refused");
  assertStringIncludes(why(result), "other bytes than were stored");
  assertEquals(backend.objects.size, 0);
});

Deno.test("a backend that never answers is unreachable when the time is up", async () => {
  const backend = new MemoryBackend();
  backend.put = (_path, _content, signal) =>
    new Promise((_, reject) => {
      signal.onabort = () => reject(new StorageError("transient", "stopped"));
    });
  const result = await probeBackend(backend, true, 20);
  assertEquals(result.kind, "unreachable");
  assertStringIncludes(why(result), "no answer within 0.02 s");
});

Deno.test("the probe's object is never a depot file, and never listed as one", async () => {
  const inner = failing("delete", "denied");
  await probeBackend(inner, true, 1000);
  const [left] = inner.objects.keys();
  assertEquals([isProbeObject(left!), createExclusion([])(left!)], [true, true]);
  const backend = new RetryingBackend(inner);
  await backend.put(textPath("a"), contentOf(someBytes(1)), never);
  assertEquals(await paths(backend, ""), [textPath("a")]);
});
