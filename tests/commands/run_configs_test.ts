/** Which depots `p4-cache run` finds, and which it refuses to serve together. @module */

import { assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import { depotFiles } from "../../src/commands/depot_files.ts";
import { conflict, loadDepot } from "../../src/commands/run_configs.ts";
import { named, statusLine } from "../../src/commands/run_supervisor.ts";
import type { Config } from "../../src/config/config.ts";
import { EnvironmentError } from "../../src/errors.ts";

/** Writes configurations into a directory, and calls with it. */
function withConfigs(
  configs: (dir: string) => Record<string, Record<string, unknown>>,
  test: (dir: string, load: (name: string) => Config) => void,
): void {
  const dir = Deno.makeTempDirSync();
  try {
    for (const place of ["a", "b", "a/inside", "store", "other"]) Deno.mkdirSync(`${dir}/${place}`);
    for (const [name, config] of Object.entries(configs(dir))) {
      const text = JSON.stringify({ primary: { type: "nfs", path: `${dir}/store` }, ...config });
      Deno.writeTextFileSync(`${dir}/${name}.json`, text);
    }
    test(dir, (name) => loadDepot(`${dir}/${name}.json`));
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("depots are named by their files; hidden and other files are none", () => {
  withConfigs(() => ({ b: {}, a: {}, ".hidden": {} }), (dir) => {
    Deno.writeTextFileSync(`${dir}/README`, "");
    assertEquals(depotFiles(dir).map(({ name }) => name), ["a", "b"]);
    assertThrows(() => depotFiles(`${dir}/none`), EnvironmentError, "it does not exist");
  });
});

Deno.test("what two depots cannot share is named: directory, storage, files, address", () => {
  const configs = (dir: string) => {
    const other = { primary: { type: "nfs", path: `${dir}/other` } };
    return {
      first: {
        depot_path: `${dir}/a`,
        http_listen: "127.0.0.1:9180",
        metrics_file: `${dir}/metrics`,
        access_db_path: `${dir}/access`,
      },
      same: { depot_path: `${dir}/b/../a`, ...other },
      inside: { depot_path: `${dir}/a/inside`, ...other },
      storage: { depot_path: `${dir}/b` },
      replica: { depot_path: `${dir}/b`, read_only: true },
      http: { depot_path: `${dir}/b`, http_listen: "127.0.0.1:9180", ...other },
      metrics: { depot_path: `${dir}/b`, metrics_file: `${dir}/metrics`, ...other },
      access: { depot_path: `${dir}/b`, access_db_path: `${dir}/access`, ...other },
      fine: { depot_path: `${dir}/b`, ...other },
    };
  };
  withConfigs(configs, (dir, load) => {
    const others = new Map([["first", load("first")]]);
    const why = (name: string) => conflict(load(name), others);
    assertStringIncludes(why("same")!, "depot_path");
    assertStringIncludes(why("inside")!, "one is inside the other");
    assertEquals(
      why("storage"),
      `primary nfs ${dir}/store is that of 'first', too; each depot needs its own`,
    );
    assertStringIncludes(why("http")!, "http_listen 127.0.0.1:9180");
    assertStringIncludes(why("metrics")!, "metrics_file");
    assertStringIncludes(why("access")!, "access_db_path");
    assertEquals([why("fine"), why("replica")], [null, null]);
  });
});

Deno.test("lines carry the depot's name, JSON lines as a member", () => {
  assertEquals(named("a", "2026 INFO x: y"), "[a] 2026 INFO x: y\n");
  assertEquals(JSON.parse(named("a", '{"level":"info"}')), { depot: "a", level: "info" });
});

Deno.test("the status line counts, and names what does not serve", () => {
  assertEquals(
    statusLine([
      { name: "a", state: "serving" },
      { name: "b", state: "failed" },
      { name: "c", state: "serving" },
    ]),
    "3 depots: 2 serving, 1 failed (b)",
  );
});
