/**
 * Speed of every backend against a real server on loopback, as `p4-cache bench backend` measures it,
 * each in a process of its own: `deno task bench:storage [NAME…] [--seconds N] [--large-mib N]`.
 *
 * The servers share the machine: what they cannot do, no client can.
 *
 * @module
 */

import { resultLine } from "../../src/commands/bench.ts";
import { Bench } from "../../src/storage/bench.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { RetryingBackend } from "../../src/storage/retrying.ts";
import type { BackendConfig } from "../../src/config/config.ts";
import { KINDS } from "../faults/servers.ts";
import { never } from "../storage/contents.ts";

interface Started {
  readonly config: BackendConfig;
  end(): Promise<void>;
}

/** What can be measured: the servers that the faults come between, and a directory. */
const BACKENDS: ReadonlyMap<string, { missing: string | null; start(): Promise<Started> }> =
  new Map([
    ["nfs", { missing: null, start: startDirectory }],
    ...KINDS.map(({ name, missing, start }) =>
      [name, {
        missing,
        start: async () => {
          const server = await start();
          return { config: server.config(server.address), end: server.end };
        },
      }] as const
    ),
  ]);

async function startDirectory(): Promise<Started> {
  const path = await Deno.makeTempDir({ dir: "/var/tmp", prefix: "p4cache-bench-" });
  const end = () => Deno.remove(path, { recursive: true });
  return { config: { type: "nfs", path }, end };
}

async function measure(name: string, seconds: number, largeBytes: number): Promise<void> {
  const started = await BACKENDS.get(name)!.start();
  const backend = new RetryingBackend(await openBackend(started.config));
  try {
    const bench = new Bench(backend, { seconds, largeBytes });
    for await (const result of bench.run(never, () => {})) {
      await Deno.stdout.write(new TextEncoder().encode(`${name.padEnd(6)} ${resultLine(result)}`));
    }
  } finally {
    await backend.close();
    await started.end();
  }
}

const flag = (name: string, fallback: number) => {
  const at = Deno.args.indexOf(name);
  return at < 0 ? fallback : Number(Deno.args[at + 1]);
};
const seconds = flag("--seconds", 3), largeMib = flag("--large-mib", 1024);
const one = Deno.env.get("P4CACHE_BENCH_ONE");
if (one !== undefined) {
  await measure(one, seconds, largeMib * 1024 ** 2);
} else {
  const named = Deno.args.filter((arg) => BACKENDS.has(arg));
  for (const [name, { missing }] of BACKENDS) {
    if (named.length > 0 && !named.includes(name)) continue;
    if (missing !== null) {
      console.log(`${name}: skipped, ${missing}`);
      continue;
    }
    // Memory and CPU are the process's: one for each.
    await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", Deno.mainModule, ...Deno.args],
      env: { P4CACHE_BENCH_ONE: name },
    }).spawn().status;
  }
}
