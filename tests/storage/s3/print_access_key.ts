/** Prints the access key that is found for a profile, or none; each run has its own environment. @module */

import { credentialSource } from "../../../src/storage/s3/s3_credentials.ts";
import { s3Config } from "../versitygw.ts";

const [profile] = Deno.args;
const config = s3Config("", { accessKey: null, secretKey: null, profile: profile ?? null });
const { accessKeyId } = await credentialSource(config, (name) => Deno.env.get(name)).get(
  Date.now(),
);
console.log(accessKeyId);
