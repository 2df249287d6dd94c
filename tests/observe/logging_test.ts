import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  configureLogging,
  createRepeatLimiter,
  describeError,
  getLog,
} from "../../src/observe/logging.ts";

Deno.test({
  name: "a message is one literal line, whatever is in it; the file follows a rotation",
  sanitizeResources: false, // the log stays open for the life of the process
  fn: async () => {
    const dir = Deno.makeTempDirSync();
    try {
      const path = `${dir}/log`;
      const output = await configureLogging({ verbose: false, logFile: path });
      getLog("upload").info("{braces} {{}} %s\nsecond\x1b[2J line");
      getLog("upload").debug("not told without --verbose");
      assertMatch(
        Deno.readTextFileSync(path),
        /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO upload: \{braces\} \{\{\}\} %s second\\x1b\[2J line\n$/,
      );
      Deno.renameSync(path, `${path}.1`);
      output.reopen();
      getLog("upload").error("after");
      assertMatch(Deno.readTextFileSync(path), /ERROR upload: after\n$/);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "a log file that cannot be opened again is kept, and the log says so",
  sanitizeResources: false, // the log stays open for the life of the process
  fn: async () => {
    const dir = Deno.makeTempDirSync();
    try {
      Deno.mkdirSync(`${dir}/logs`);
      const path = `${dir}/logs/log`;
      const output = await configureLogging({ verbose: false, logFile: path });
      assertEquals(Deno.statSync(path).mode! & 0o777 & ~0o640, 0);
      Deno.renameSync(`${dir}/logs`, `${dir}/moved`);
      output.reopen();
      getLog("upload").info("after");
      const lines = Deno.readTextFileSync(`${dir}/moved/log`).trimEnd().split("\n");
      assertEquals(lines.length, 2);
      assertStringIncludes(lines[0]!, `ERROR log: Cannot open the log file ${path}`);
      assertStringIncludes(lines[1]!, "INFO upload: after");
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
});

Deno.test("an error is described with its causes, in one line", () => {
  const error = new Error("Cannot put a", { cause: new Error("refused\nby peer") });
  assertEquals(describeError(error), "Cannot put a: refused by peer");
  assertEquals(describeError("text"), "text");
});

Deno.test("repeats are left out for the interval, then counted", () => {
  let now = 0;
  const limited = createRepeatLimiter(1000, () => now);
  assertEquals(limited("a"), "a");
  assertEquals(limited("a"), null);
  assertEquals(limited("b"), "b");
  now = 1000;
  assertEquals(limited("a"), "a (1 more like it)");
  now = 2000;
  assertEquals(limited("a"), "a");
});
