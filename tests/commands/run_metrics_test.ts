/** The metrics of several depots as one page. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { mergeMetrics } from "../../src/commands/run_metrics.ts";

Deno.test("each family of metrics comes once, with the samples of all depots", () => {
  const one = (depot: string, more = "") =>
    `# HELP files Files\n# TYPE files gauge\nfiles{depot="${depot}"} 1\n\n` +
    `# HELP took Time\n# TYPE took histogram\ntook_bucket{depot="${depot}",le="1"} 2\n` +
    `took_sum{depot="${depot}"} 3\ntook_count{depot="${depot}"} 4\n${more}`;
  assertEquals(
    mergeMetrics([one("a"), one("b", "# HELP only B\n# TYPE only counter\nonly 5\n"), ""]),
    `# HELP files Files\n# TYPE files gauge\nfiles{depot="a"} 1\nfiles{depot="b"} 1\n` +
      `# HELP took Time\n# TYPE took histogram\n` +
      `took_bucket{depot="a",le="1"} 2\ntook_sum{depot="a"} 3\ntook_count{depot="a"} 4\n` +
      `took_bucket{depot="b",le="1"} 2\ntook_sum{depot="b"} 3\ntook_count{depot="b"} 4\n` +
      `# HELP only B\n# TYPE only counter\nonly 5\n`,
  );
});
