/** The command line: what is printed where, and the exit code. @module */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import { installShim } from "../../src/commands/shim_install.ts";
import { runProgram } from "../../src/commands/program.ts";
import { EnvironmentError } from "../../src/errors.ts";
import { VERSION } from "../../src/version.ts";

/** Runs the program inside this process. */
async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const terminal = {
    out: (text: string) => void (out += text),
    err: (t: string) => void (err += t),
    isInteractive: false,
  };
  const code = await runProgram(args, terminal);
  return { code, out, err };
}

function inFolder(body: (dir: string) => Promise<void> | void) {
  return async () => {
    const dir = Deno.makeTempDirSync({ prefix: "p4cache-program-" });
    try {
      await body(dir);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  };
}

Deno.test("--version and version print the version", async () => {
  const line = `p4-cache ${VERSION}\n`;
  assertEquals(await run("--version"), { code: 0, out: line, err: "" });
  assertEquals(await run("version"), { code: 0, out: line, err: "" });
  assertEquals(JSON.parse((await run("version", "--json")).out).version, VERSION);
});

Deno.test("--help gives examples first, then every group of flags, without colour", async () => {
  const { code, out } = await run("--help");
  assertEquals(code, 0);
  const order = ["Examples:", "Usage:", "Depot:", "Cache size:", "Storage", "Commands:"];
  assertEquals(order.map((part) => out.indexOf(part)).toSorted((a, b) => a - b).length, 6);
  for (let i = 1; i < order.length; i++) {
    assert(out.indexOf(order[i]!) > out.indexOf(order[i - 1]!), order[i]);
  }
  assertStringIncludes(out, "--primary-bucket");
  assert(!out.includes("--secondary-bucket"));
  assert(!out.includes("\x1b"));
});

Deno.test("-h is --help, and names what may be chosen", async () => {
  const { code, out } = await run("-h");
  assertEquals([code, out], [0, (await run("--help")).out]);
  const text = out.replace(/\s+/g, " ");
  assertStringIncludes(text, "(trace, debug, info, warning or error; default: info, or debug");
  assertStringIncludes(text, "access key id (default: AWS_ACCESS_KEY_ID, then the SDK's");
});

Deno.test("help prints the help of a command, which tells no default twice", async () => {
  assertEquals(await run("help", "queue"), await run("queue", "--help"));
  for (const command of ["queue", "migrate", "verify", "storage", "access", "events"]) {
    assert(!/\(default: [^)]*\)\s+\(default/.test((await run("help", command)).out), command);
  }
});

const WRONG: [string[], string][] = [
  [["--max-cach-gb", "5"], "Cannot use --max-cach-gb: unknown flag; did you mean --max-cache-gb?"],
  [
    ["--secondary-buckt=hush"],
    "Cannot use --secondary-buckt: unknown flag; did you mean --secondary-bucket?",
  ],
  [["--xyzzyxyzzy"], "Cannot use --xyzzyxyzzy: unknown flag; 'p4-cache --help' lists all"],
  [["top", "--json"], "Cannot use --json: unknown flag; 'p4-cache top --help' lists all"],
  [["backup", "list", "--jsn"], "Cannot use --jsn: unknown flag; did you mean --json?"],
  [
    ["access", "stale"],
    "Cannot run 'access stale' without --before <when>; 'p4-cache access stale --help' shows how",
  ],
  [["verison"], "Cannot run 'verison': unknown command; did you mean version?"],
  [
    ["support", "bundle", "--output", "x"],
    "Cannot run 'support': unknown command; 'p4-cache --help' lists all",
  ],
  [["config", "chekc", "--jsn"], "Cannot run 'chekc': unknown command; did you mean check?"],
  [["config", "chekc"], "Cannot run 'chekc': unknown command; did you mean check?"],
  [["config"], "Cannot run 'config' alone; allowed behind it is check, print, schema or init"],
  [["--depot-path"], "Cannot use --depot-path: its value is missing; it takes <path>"],
  [["flush", "--timeout", "x"], "Cannot use --timeout 'x': allowed is a whole number from 0"],
  [["events", "--last", "-3"], "Cannot use --last '-3': allowed is a whole number from 0"],
  [
    ["config", "init", "--type", "foo"],
    "Cannot use --type 'foo': allowed is s3, azure, gcs or nfs",
  ],
  [["completion", "tcsh"], "Cannot use shell 'tcsh': allowed is bash, zsh or fish"],
  [["pin"], "Cannot run 'pin' without <path>; 'p4-cache pin --help' shows how"],
  [
    ["drain", "tape", "change"],
    "Cannot run 'drain' with so many arguments; allowed is none, see 'p4-cache drain --help'",
  ],
  [
    ["backup", "lst"],
    "Cannot run 'lst': unknown command; did you mean list?",
  ],
  [
    ["backup", "everything"],
    "Cannot run 'everything': unknown command; allowed is list or verify",
  ],
  [
    ["config", "xyzzy"],
    "Cannot run 'xyzzy': unknown command; allowed is check, print, schema or init",
  ],
  [["warm", "--hot", "10XB"], "Cannot use --hot '10XB': allowed is a size such as 10GB or 500MB"],
  [["evict", "--bytes", "x"], "Cannot use --bytes 'x': allowed is a size such as 10GB or 500MB"],
  [["prefetch", "--depot-path=/d", "@/none"], "Cannot read /none: No such file or directory"],
  [
    ["config", "check", "--depot-path", "/nonexistent/depot"],
    "Cannot use --depot-path '/nonexistent/depot': it does not exist; " +
    "allowed is an existing directory",
  ],
  [
    [],
    "Cannot start without depot_path (the depot directory to cache): " +
    "give --depot-path or the JSON key in the file of --config",
  ],
];

for (const [args, line] of WRONG) {
  Deno.test(`'p4-cache ${args.join(" ")}' is refused in one line with exit code 2`, async () => {
    assertEquals(await run(...args), { code: 2, out: "", err: `p4-cache: ${line}\n` });
  });
}

Deno.test("a command that speaks to the storage says which configuration it needs", async () => {
  Deno.env.set("P4CACHE_DEPOT", "/of/no/service");
  try {
    assertEquals(await run("lease"), {
      code: 2,
      out: "",
      err:
        "p4-cache: Cannot tell which configuration is meant: give --config, or --depot-path and " +
        "the storage's flags, or set P4CACHE_DEPOT to a depot that a service has\n",
    });
  } finally {
    Deno.env.delete("P4CACHE_DEPOT");
  }
});

Deno.test(
  "config check and print take flags before or after the command",
  inFolder(async (dir) => {
    const flags = ["--depot-path", dir, "--primary-type", "s3", "--primary-bucket", "b"];
    assertEquals(await run("config", "check", ...flags), {
      code: 0,
      out: "Configuration is valid\n",
      err: "",
    });
    const printed = await run("--verbose", ...flags, "config", "print", "--max-cache-bytes", "7");
    const document = JSON.parse(printed.out);
    assertEquals([document.verbose, document.max_cache_bytes], [true, 7]);
  }),
);

Deno.test("config schema prints JSON", async () => {
  assertEquals(JSON.parse((await run("config", "schema")).out).type, "object");
});

Deno.test(
  "the shim is installed whole, executable, in place of an older one",
  inFolder((dir) => {
    const target = `${dir}/libp4shim.so`;
    Deno.writeTextFileSync(target, "old");
    const old = Deno.openSync(target);
    installShim(target, new Uint8Array([1, 2, 3]));
    assertEquals(Deno.readFileSync(target), new Uint8Array([1, 2, 3]));
    assertEquals(Deno.statSync(target).mode! & 0o7777, 0o755);
    const seen = new Uint8Array(3);
    old.readSync(seen);
    old.close();
    assertEquals(new TextDecoder().decode(seen), "old", "a loaded shim was written over");
    assertEquals([...Deno.readDirSync(dir)].length, 1, "a temporary file is left");
  }),
);

Deno.test(
  "a shim that cannot be installed leaves nothing behind",
  inFolder((dir) => {
    Deno.mkdirSync(`${dir}/taken`);
    for (const target of [`${dir}/none/libp4shim.so`, `${dir}/taken`]) {
      assertThrows(
        () => installShim(target, new Uint8Array(1)),
        EnvironmentError,
        `Cannot install the shim at ${target}: `,
      );
    }
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["taken"]);
  }),
);
