/** Listings of a container, in whatever order and pages they come. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { fails, paths } from "../conformance.ts";
import { never, textPath } from "../contents.ts";
import { refusal, withServer } from "./azure_faults.ts";

/** One page of a listing. */
function page(names: readonly string[], next: string, more = ""): Response {
  const blobs = names.map((name) =>
    `<Blob><Name>depot/${name}</Name><Properties><Content-Length>1</Content-Length>` +
    `<Etag>0x1</Etag>${more}</Properties></Blob>`
  );
  return new Response(
    `\ufeff<?xml version="1.0"?><EnumerationResults><Blobs>${blobs.join("")}</Blobs>` +
      `<NextMarker>${next}</NextMarker></EnumerationResults>`,
  );
}

/** Pages by marker, for what is not escaped. */
function listing(pages: Readonly<Record<string, () => Response>>) {
  const markers: string[] = [];
  const answer = (request: Request) => {
    const { searchParams } = new URL(request.url);
    if (searchParams.get("prefix")!.includes(".p4cache/")) return page([], "");
    const marker = searchParams.get("marker") ?? "";
    markers.push(marker);
    return pages[marker]!();
  };
  return { markers, answer };
}

Deno.test("azure: a listing that failed goes on at the page it had come to", async () => {
  let failures = 1;
  const { markers, answer } = listing({
    "": () => page(["a", "b"], "1&amp;2"),
    "1&2": () => page(["c", "d"], "3"),
    "3": () => failures-- > 0 ? refusal(500, "InternalError") : page(["e"], ""),
  });
  await withServer(answer, async (backend) => {
    const found: string[] = [];
    await fails("transient", async () => {
      for await (const { path } of backend.list("", never)) found.push(path);
    });
    assertEquals(await paths(backend, "", found.at(-1)), ["e"]);
    assertEquals(markers, ["", "1&2", "3", "1&2", "3"]);
    // Another prefix, or an earlier place, begins anew.
    assertEquals(await paths(backend, "", "a"), ["b", "c", "d", "e"]);
    assertEquals(await paths(backend, "d"), ["d"]);
  });
});

Deno.test("azure: names beyond U+FFFF come in byte order, whichever order the service has", async () => {
  const names = ["a", "b/\ud83c\udf89", "b/\uff01", "b/z", "c"];
  const sorted = names.map(textPath).sort();
  for (const order of [[...names].sort(), ["a", "b/z", "b/\uff01", "b/\ud83c\udf89", "c"]]) {
    const { answer } = listing({
      "": () => page(order.slice(0, 3), "next"),
      next: () => page(order.slice(3), ""),
    });
    await withServer(answer, async (backend) => assertEquals(await paths(backend, ""), sorted));
  }
});

Deno.test("azure: names in another order are refused, never given as if sorted", () => {
  const { answer } = listing({ "": () => page(["a/b", "a!"], "") });
  return withServer(answer, async (backend) => {
    const { message } = await fails("permanent", () => paths(backend, ""));
    assertStringIncludes(message, "hierarchical namespace");
  });
});

Deno.test("azure: a directory of a hierarchical namespace is no object", async () => {
  const { answer } = listing({
    "": () => page(["a"], "", "<ResourceType>directory</ResourceType>"),
  });
  await withServer(answer, async (backend) => assertEquals(await paths(backend, ""), []));
  const directory = () =>
    new Response(null, {
      headers: { etag: '"e"', "content-length": "0", "x-ms-resource-type": "directory" },
    });
  await withServer(
    directory,
    async (backend) => void await fails("absent", () => backend.head(textPath("a/b,v"), never)),
  );
});
