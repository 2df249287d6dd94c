/** Texts out of XML answers. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import fc from "fast-check";
import { xmlText } from "../../src/storage/xml.ts";

Deno.test("the text of an element is found, whatever stands around it", () => {
  const xml =
    "<Error><CodeName>x</CodeName><Code>NoSuch&#75;ey</Code><Region/><Key a='b'>&lt;</Key>";
  assertEquals(xmlText(xml, "Code"), "NoSuchKey");
  assertEquals(xmlText(xml, "Key"), "<");
  assertEquals(xmlText(xml, "Region"), "");
  assertEquals(xmlText(xml, "Message"), null);
  for (const cut of ["<Code", "<Code>", "<Code>x", "<Code>x</Code", "Code>x</Code>", ""]) {
    assertEquals(xmlText(cut, "Code"), null, cut);
  }
});

Deno.test("an element's text is what the pattern for it finds, in any document", () => {
  const pattern = (xml: string) => {
    const match = /<A(?:\s[^>]*)?>([^<]*)<\/A>/.exec(xml);
    return match !== null ? match[1]! : /<A(?:\s[^>]*)?\/>/.test(xml) ? "" : null;
  };
  const pieces = fc.constantFrom(
    "<A>",
    "<A ",
    "<AB>",
    "<A/>",
    "<A b />",
    "</A>",
    "<B>",
    ">",
    "x",
    "/",
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
      const xml = parts.join("");
      assertEquals(xmlText(xml, "A"), pattern(xml), xml);
    }),
    { numRuns: 5000 },
  );
});
