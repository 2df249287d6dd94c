/**
 * The page to look at, in a real browser.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  DaemonProcess,
  hasProgram,
  makePlaces,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const BROWSER = "chromium-headless-shell";
const reason = !mayWatch()
  ? "they need CAP_SYS_ADMIN"
  : !hasProgram(BROWSER)
  ? `${BROWSER} is not installed`
  : null;
if (reason !== null) console.log(`tests of the page to look at are skipped: ${reason}`);

/** Blink's names for what a browser prefers. */
const DARK = 0, LIGHT = 1;

Deno.test({
  name: "the page shows the daemon's state, names of files as text only, and asks nobody else",
  ignore: reason !== null,
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    Deno.mkdirSync(`${store}/<b>bold`);
    Deno.writeTextFileSync(`${store}/<b>bold/a`, "12345");
    await using daemon = await DaemonProcess.start(depot, [
      ...storage,
      "--http-listen",
      "127.0.0.1:0",
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
    // Dark and light are the browser's wish; a phone's width needs no scrolling sideways.
    for (const scheme of [DARK, LIGHT]) {
      const dom = await run("timeout", [
        ...["120", BROWSER, "--no-sandbox", "--disable-gpu", `--user-data-dir=${dir.path}/browser`],
        ...["--window-size=400,800", `--blink-settings=preferredColorScheme=${scheme}`],
        ...["--virtual-time-budget=2000", "--dump-dom", `file://${probePage(dir.path, text)}`],
      ]);
      const [, brightness, overflow] = /data-seen="(\d+) (-?\d+)"/.exec(dom.stdout)!.map(Number);
      assertEquals(brightness! < 128, scheme === DARK, `${scheme}: ${brightness}`);
      assert(overflow! <= 0, `${overflow} pixels too wide`);
    }
    // Whatever is asked for by a URL is the page's own: no link, no script, no font of others.
    assertEquals(text.match(/(src|href)="(?!data:,)[^"]*"/g), null);
  },
});

/** The page as it was drawn, with what it looks like noted in itself: brightness, and width too much. */
function probePage(dir: string, dom: string): string {
  const still = dom.replace(/<script[\s\S]*?<\/script>/g, "");
  const look = `<script>
    const rgb = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
    const { scrollWidth, clientWidth } = document.documentElement;
    document.body.dataset.seen = Math.max(...rgb.slice(0, 3)) + " " + (scrollWidth - clientWidth);
  </script>`;
  Deno.writeTextFileSync(`${dir}/probe.html`, still.replace("</body>", `${look}</body>`));
  return `${dir}/probe.html`;
}

async function listening(daemon: DaemonProcess): Promise<string> {
  await until("it serves", () => daemon.log().includes("HTTP at"));
  return / HTTP at (\S+)/.exec(daemon.log())![1]!;
}
