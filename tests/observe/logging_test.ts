import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
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
      getLog("upload").info("{braces} {{}} %s\nsecond line");
      getLog("upload").debug("not told without --verbose");
      assertMatch(
        Deno.readTextFileSync(path),
        /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO upload: \{braces\} \{\{\}\} %s second line\n$/,
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
