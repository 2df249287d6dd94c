/** Bandwidth as people write it. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { bandwidthAt, parseBandwidth } from "../../src/config/bandwidth.ts";

const MIB = 1024 ** 2;
const at = (text: string, time: string) => {
  const [hour, minute] = time.split(":").map(Number);
  return bandwidthAt(parseBandwidth(text)!, hour! * 60 + minute!);
};

Deno.test("a rate counts in 1024s, with or without unit", () => {
  const rates = ["2048", "2048B", "10K", "10kb", "1.5 MB", "2GB"].map((text) => at(text, "12:00"));
  assertEquals(rates, [2048, 2048, 10_240, 10_240, 1.5 * MIB, 2048 * MIB]);
});

Deno.test("a span of the day begins at its first minute and ends before its last", () => {
  const text = "08:00-18:00=20MB";
  assertEquals(at(text, "07:59"), Infinity);
  assertEquals(at(text, "08:00"), 20 * MIB);
  assertEquals(at(text, "17:59"), 20 * MIB);
  assertEquals(at(text, "18:00"), Infinity);
});

Deno.test("a span may go over midnight, and a rate alone holds at all other times", () => {
  const text = "22:00-06:00=500MB, 20MB";
  const times = ["21:59", "22:00", "23:59", "00:00", "05:59", "06:00"];
  const rates = times.map((time) => at(text, time) / MIB);
  assertEquals(rates, [20, 500, 500, 500, 500, 20]);
  assertEquals(at("06:00-24:00=1MB", "23:59"), MIB);
});

Deno.test("the first entry whose time it is counts", () => {
  const text = "12:00-13:00=1MB, 08:00-18:00=2MB, 3MB";
  assertEquals([at(text, "12:30"), at(text, "13:30"), at(text, "20:00")], [MIB, 2 * MIB, 3 * MIB]);
});

Deno.test("what is no bandwidth is refused", () => {
  const texts = ["", "fast", "0", "-1MB", "0.1", "1TB", "1MB,", "1MB, 2MB", "8:00-18:00=1MB"];
  texts.push("08:00-08:00=1MB", "25:00-26:00=1MB", "08:60-09:00=1MB", "08:00-18:00", "1e9");
  texts.push("9".repeat(20) + "GB", "08:00-18:00=0");
  texts.push("50", "0.9KB", "08:00-18:00=20, 1MB");
  for (const text of texts) assertEquals(parseBandwidth(text), null, text);
});
