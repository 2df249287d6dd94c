/**
 * The page to look at, in a real browser.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { DaemonProcess, hasProgram, mayWatch, run, TempDir, until } from "./daemon_process.ts";

const BROWSER = "chromium-headless-shell";
const reason = !mayWatch()
  ? "they need CAP_SYS_ADMIN"
  : !hasProgram(BROWSER)
  ? `${BROWSER} is not installed`
  : null;
if (reason !== null) console.log(`tests of the page to look at are skipped: ${reason}`);

Deno.test({
  name: "the page shows the daemon's state, names of files as text only, and asks nobody else",
  ignore: reason !== null,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`, store = `${dir.path}/store`;
    for (const path of [depot, `${store}/<b>bold`]) Deno.mkdirSync(path, { recursive: true });
    Deno.writeTextFileSync(`${store}/<b>bold/a`, "12345");
    await using daemon = await DaemonProcess.start(depot, [
      ...["--primary-type", "nfs", "--primary-path", store, "--http-listen", "127.0.0.1:0"],
    ]);
    assertEquals(await daemon.fetch("<b>bold/a"), "OK 5");
    const url = await listening(daemon);
    const { code, stdout: text, stderr } = await run("timeout", [
      ...["120", BROWSER, "--no-sandbox", "--disable-gpu", `--user-data-dir=${dir.path}/browser`],
      ...["--window-size=400,800", "--virtual-time-budget=5000", "--dump-dom", url],
    ]);
    assertEquals(code, 0, stderr);
    assertMatch(text, /<span id="state"[^>]* class="healthy">healthy</);
    assertStringIncludes(text, `>${depot}</h1>`);
    assertStringIncludes(text, "every file is uploaded");
    assertStringIncludes(text, "&lt;b&gt;bold/a");
    assertMatch(text, /<polyline id="up"[^>]* points="[\d., ]+"/);
    // Whatever is asked for by a URL is the page's own: no link, no script, no font of others.
    assertEquals(text.match(/(src|href)="(?!data:,)[^"]*"/g), null);
  },
});

async function listening(daemon: DaemonProcess): Promise<string> {
  await until("it serves", () => daemon.log().includes("HTTP at"));
  return / HTTP at (\S+)/.exec(daemon.log())![1]!;
}
