/** What is said of a request without an answer. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { requestFailure } from "../../src/storage/request_failure.ts";

Deno.test("of a request without an answer the server and the reason are told, once, and no signature", async () => {
  const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const origin = `http://127.0.0.1:${(closed.addr as Deno.NetAddr).port}`;
  closed.close();
  const error: unknown = await fetch(`${origin}/b/f?X-Signature=secret`).catch((error) => error);
  assertEquals(
    requestFailure((error as Error).message),
    `no answer from ${origin}: Connection refused`,
  );
  assertEquals(
    requestFailure(
      "error sending request from 10.0.0.1:4 for https://s3.example.com/b/f?sig=secret " +
        "(10.0.0.2:443): client error (SendRequest): connection closed before message completed",
    ),
    "no answer from https://s3.example.com: connection closed before message completed",
  );
  assertEquals(
    requestFailure("Connection refused (os error 111)"),
    "Connection refused",
  );
});
