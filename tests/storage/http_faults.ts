/**
 * What every storage behind HTTP makes of a server that does not speak its protocol.
 *
 * @module
 */

import { assertStringIncludes } from "deno-std/assert/mod.js";
import type { Backend } from "../../src/storage/backend.ts";
import type { Limits } from "../../src/storage/http_exchange.ts";
import { fails, paths } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { IMPATIENT, PATIENT, withFaultServer, withRawServer } from "./fault_server.ts";

const PATH = textPath("a/b,v");

const get = (backend: Backend) => backend.getRange(PATH, 0, 10, { signal: never });

/**
 * Declares the tests.
 * @param versionHeader As the storage sends it with an object.
 */
export function httpFaults(
  name: string,
  versionHeader: string,
  open: (origin: string, limits: Limits) => Promise<Backend>,
): void {
  const patient = (origin: string) => open(origin, PATIENT);

  Deno.test(`${name}: a redirect is not followed`, () =>
    withFaultServer(
      () => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/" } }),
      patient,
      async (backend) => void await fails("transient", () => get(backend)),
    ));

  Deno.test(`${name}: a body that is cut is transient`, () =>
    withRawServer(
      `HTTP/1.1 206 Partial Content\r\n${versionHeader}\r\nContent-Range: bytes 0-9/10\r\n` +
        "Content-Length: 10\r\n\r\nabc",
      patient,
      async (backend) => void await fails("transient", () => get(backend)),
    ));

  Deno.test(`${name}: an answer that never comes is transient`, async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => release = resolve);
    await withFaultServer(
      async () => (await held, new Response()),
      (origin) => open(origin, IMPATIENT),
      async (backend) => {
        assertStringIncludes((await fails("transient", () => get(backend))).message, "no progress");
        release();
      },
    );
  });

  Deno.test(`${name}: a page with status 200 is not taken for an object`, () =>
    withFaultServer(() => new Response("<html>sign in</html>"), patient, async (backend) => {
      await fails("corrupt", () => get(backend));
      await fails("corrupt", () => backend.put(PATH, contentOf(someBytes(10)), never));
      await fails("corrupt", () => backend.head(PATH, never));
      await fails("transient", () => paths(backend, ""));
    }));
}
