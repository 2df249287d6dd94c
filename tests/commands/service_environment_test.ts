/** What admin commands take from the service's environment. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { adoptServiceEnvironment } from "../../src/commands/service_environment.ts";

const SECRET = "P4CACHE_TEST_SECRET",
  OTHER = "P4CACHE_TEST_OTHER",
  CREDENTIALS = "CREDENTIALS_DIRECTORY";

/** The variables after a command was given the configuration of that name. */
function adopted(config: string, files: Record<string, string>, set: Record<string, string> = {}) {
  const root = Deno.makeTempDirSync({ prefix: "p4cache-service-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      Deno.mkdirSync(`${root}${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(`${root}${path}`, text);
    }
    for (const [name, value] of Object.entries(set)) Deno.env.set(name, value);
    adoptServiceEnvironment(`${root}${config}`, root);
    return [SECRET, OTHER, CREDENTIALS].map((name) => Deno.env.get(name)?.replace(root, ""));
  } finally {
    for (const name of [SECRET, OTHER, CREDENTIALS]) Deno.env.delete(name);
    Deno.removeSync(root, { recursive: true });
  }
}

const ENV = `# secrets\n#${OTHER}=no\n${SECRET}=a b=\n  ${OTHER}='q "x"' \nno assignment\n`;

Deno.test("a command has the secrets of the service with its configuration", () => {
  const files = { "/etc/p4-cache/env": ENV, "/etc/p4-cache/art.env": `${SECRET}="art"\r\n` };
  assertEquals(adopted("/etc/p4-cache/config.json", files), ["a b=", 'q "x"', undefined]);
  assertEquals(adopted("/etc/p4-cache/depots.d/x.json", files), ["a b=", 'q "x"', undefined]);
  assertEquals(adopted("/etc/p4-cache/art.json", files), ["art", undefined, undefined]);
});

Deno.test("what the shell has set wins, and another place means no service", () => {
  const files = { "/etc/p4-cache/env": ENV };
  assertEquals(adopted("/etc/p4-cache/config.json", files, { [SECRET]: "" })[0], "");
  assertEquals(adopted("/srv/config.json", files), [undefined, undefined, undefined]);
  assertEquals(adopted("/etc/p4-cache/config.json", {}), [undefined, undefined, undefined]);
});

Deno.test("a command finds the credentials of the unit that runs", () => {
  const files = Object.fromEntries(
    ["p4-cache", "p4-cache@art", "p4-cache-depots"].map((unit) => [
      `/run/credentials/${unit}.service/s3-id`,
      "id",
    ]),
  );
  const found = (config: string) => adopted(`/etc/p4-cache/${config}`, files)[2];
  assertEquals(found("config.json"), "/run/credentials/p4-cache.service");
  assertEquals(found("art.json"), "/run/credentials/p4-cache@art.service");
  assertEquals(found("depots.d/x.json"), "/run/credentials/p4-cache-depots.service");
});
