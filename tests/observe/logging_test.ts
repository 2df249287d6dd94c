/** Log lines and log files. @module */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { LogFile } from "../../src/observe/log_file.ts";
import {
  configureLogging,
  createRepeatLimiter,
  describeError,
  getLog,
  type LogOptions,
} from "../../src/observe/logging.ts";

const PLAIN: LogOptions = {
  verbose: false,
  logFile: null,
  logFormat: "text",
  logLevel: null,
  logLevels: null,
  logMaxMib: 0,
  logKeep: 2,
};

Deno.test({
  name: "a message is one literal line, whatever is in it; the file follows a rotation",
  sanitizeResources: false, // the log stays open for the life of the process
  fn: () => {
    const dir = Deno.makeTempDirSync();
    try {
      const path = `${dir}/log`;
      const output = configureLogging({ ...PLAIN, logFile: path });
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
  fn: () => {
    const dir = Deno.makeTempDirSync();
    try {
      Deno.mkdirSync(`${dir}/logs`);
      const path = `${dir}/logs/log`;
      const output = configureLogging({ ...PLAIN, logFile: path });
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

Deno.test({
  name:
    "as JSON each line is an object, and modules have levels of their own, changed while running",
  sanitizeResources: false, // the log stays open for the life of the process
  fn: () => {
    const dir = Deno.makeTempDirSync();
    try {
      const options = { ...PLAIN, logFile: `${dir}/log`, logFormat: "json" as const };
      const output = configureLogging({
        ...options,
        logLevel: "warning",
        logLevels: "evict=debug",
      });
      getLog("evict").debug('a "quoted"\nname');
      getLog("upload").info("held back");
      output.apply(options);
      getLog("upload").info("told");
      getLog("evict").debug("held back");
      getLog("upload").error("wrong");
      const lines = Deno.readTextFileSync(`${dir}/log`).trimEnd().split("\n");
      const told = lines.map((line) => JSON.parse(line)).map(({ level, module, message }) => [
        level,
        module,
        message,
      ]);
      assertEquals(told, [
        ["debug", "evict", 'a "quoted" name'],
        ["info", "upload", "told"],
        ["error", "upload", "wrong"],
      ]);
      assertEquals(output.recent.map(({ message }) => message), ["wrong"]);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
});

Deno.test("a log file that is full is rotated, and only so many old ones are kept", () => {
  const dir = Deno.makeTempDirSync();
  try {
    const file = new LogFile(`${dir}/log`, { maxBytes: 4, keep: 2 });
    for (const text of ["1\n", "2\n", "3\n", "longer than that\n", "4\n", "5\n"]) file.write(text);
    const names = Array.from(Deno.readDirSync(dir), (entry) => entry.name).sort();
    assertEquals(names.map((name) => [name, Deno.readTextFileSync(`${dir}/${name}`)]), [
      ["log", "4\n5\n"],
      ["log.1", "longer than that\n"],
      ["log.2", "3\n"],
    ]);
    file.close();
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
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
