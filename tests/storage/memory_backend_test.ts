/** The fake keeps the contract, so that tests above it mean something. @module */

import { conformance } from "./conformance.ts";
import { MemoryBackend } from "./memory_backend.ts";

conformance("memory", null, () =>
  Promise.resolve({
    backend: new MemoryBackend(),
    leftovers: () => Promise.resolve([]),
    end: () => Promise.resolve(),
  }));
