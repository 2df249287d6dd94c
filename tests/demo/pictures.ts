/**
 * `deno task pictures`: takes the pictures that the documents show. A daemon works on a small depot while a
 * browser without a screen looks at its page. All of it happens in a mount namespace of its own, so that
 * the paths in the pictures are those of the documents.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { DaemonProcess, hasProgram, mayWatch, run, shimEnv, until } from "../e2e/daemon_process.ts";
import { PAGE, pageDigest, PICTURES } from "./pictured_page.ts";

const BROWSER = "chromium-headless-shell";

/** Blink's names for what a browser prefers. */
const DARK = 0, LIGHT = 1;

/** Pictures: file, width and height in pixels, what the browser prefers. */
const SHOTS = [
  ["dashboard.png", 1200, 820, DARK],
  ["dashboard_light.png", 1200, 820, LIGHT],
  ["dashboard_phone.png", 400, 1400, LIGHT],
] as const;

/** How long the browser thinks that it watches, ms: fills the page's chart, which is asked for every 2 s. */
const WATCHED_MS = 200_000;

/** How long the daemon has worked before the first picture, ms. */
const WARM_UP_MS = 20_000;

const DEPOT = "/mnt/nvme/depot", STORE = "/mnt/archive", ADDRESS = "127.0.0.1:9180";
const MIB = 1024 ** 2;
const DIRECTORIES = ["main/src", "release/2.0/src", "tools"];

/** Files of the depot, and those that are read most. */
const FILES = 400, OFTEN_READ = 60;

/** Time between two steps of the work, ms. */
const STEP_MS = 60;

const fileName = (n: number) => `${DIRECTORIES[n % DIRECTORIES.length]}/f${n}.c,v`;
const anyOf = (count: number) => Math.floor(Math.random() * count);

/** What p4d does all day: archives are written, and read, some far more often than others. */
async function work(ended: AbortSignal): Promise<void> {
  const reader = new Deno.Command("bash", {
    args: ["-c", 'while read -r name; do : < "$name"; done'],
    env: shimEnv(DEPOT),
    stdin: "piped",
  }).spawn();
  const asked = reader.stdin.getWriter();
  for (let n = 0; !ended.aborted; n++) {
    const size = 20_000 + anyOf(130_000);
    Deno.writeFileSync(`${DEPOT}/${fileName(n % FILES)}`, new Uint8Array(size));
    const known = Math.min(n + 1, FILES);
    for (const below of [OFTEN_READ, OFTEN_READ, OFTEN_READ, known]) {
      const name = fileName(anyOf(Math.min(below, known)));
      await asked.write(new TextEncoder().encode(`${DEPOT}/${name}\n`));
    }
    await delay(STEP_MS);
  }
  await asked.close();
  await reader.status;
}

async function takePictures(): Promise<void> {
  const { code, stderr } = await run("mount", ["-t", "tmpfs", "-o", "size=60g", "tmpfs", "/mnt"]);
  if (code !== 0) throw new Error(`Cannot cover /mnt: ${stderr}`);
  for (const dir of [STORE, ...DIRECTORIES.map((dir) => `${DEPOT}/${dir}`)]) {
    Deno.mkdirSync(dir, { recursive: true });
  }
  const sizes = ["--max-cache-bytes", `${20 * MIB}`, "--low-watermark-bytes", `${12 * MIB}`];
  const storage = ["--primary-type", "nfs", "--primary-path", STORE];
  const page = ["--http-listen", ADDRESS];
  await using daemon = await DaemonProcess.start(DEPOT, [...storage, ...sizes, ...page]);
  await until("it serves the page", () => daemon.log().includes("HTTP at"));
  const ended = new AbortController();
  const working = work(ended.signal);
  await delay(WARM_UP_MS);
  for (const [name, width, height, scheme] of SHOTS) {
    const shot = await run(BROWSER, [
      ...["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir=/mnt/browser"],
      ...[`--window-size=${width},${height}`, `--blink-settings=preferredColorScheme=${scheme}`],
      ...[`--virtual-time-budget=${WATCHED_MS}`, `--screenshot=${PICTURES}${name}`],
      `http://${ADDRESS}/`,
    ]);
    if (shot.code !== 0) throw new Error(`Cannot take ${name}: ${shot.stderr}`);
    console.log(`${PICTURES}${name}`);
  }
  ended.abort();
  await working;
  Deno.writeTextFileSync(PAGE, `${await pageDigest()}\n`);
}

if (!mayWatch()) throw new Error("Cannot take pictures: watching a depot needs root");
if (!hasProgram(BROWSER)) {
  throw new Error(`Cannot take pictures: ${BROWSER} is missing; apt-get install ${BROWSER}`);
}
if (Deno.args[0] === "inside") {
  await takePictures();
} else {
  const again = [Deno.execPath(), "run", "-A", new URL(import.meta.url).pathname, "inside"];
  const { code } = await new Deno.Command("unshare", { args: ["--mount", ...again] }).spawn()
    .status;
  Deno.exit(code);
}
