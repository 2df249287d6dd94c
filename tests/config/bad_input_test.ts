/** Wrong configurations: each gives one line that says what, where and what is allowed. @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { loadConfig } from "../../src/config/load.ts";
import { ConfigError } from "../../src/errors.ts";

interface Case {
  flags?: Record<string, string | true>;
  /** Merged over a good document; a string is the file's text. */
  json?: Record<string, unknown> | string;
  env?: Record<string, string>;
  message: string;
}

// DIR stands for the test's folder, FILE for its configuration file.
const nfs = { type: "nfs", path: "DIR/store" };
const s3 = { type: "s3", bucket: "b" };
const token = "0123456789abcdef";

const CASES: Record<string, Case> = {
  "an unknown key": {
    json: { max_cach_gb: 5 },
    message: "Cannot use max_cach_gb in FILE: unknown key; did you mean max_cache_gb?",
  },
  "an unknown key of a backend": {
    json: { primary: { ...s3, buckte: "x" } },
    message: "Cannot use primary.buckte in FILE: unknown key; did you mean primary.bucket?",
  },
  "a key nobody could have meant": {
    json: { frobnicate_everything: 1 },
    message: "Cannot use frobnicate_everything in FILE: unknown key; " +
      "'p4-cache config schema' lists all keys",
  },
  "a backend's key outside of it": {
    json: { bucket: "b" },
    message: "Cannot use bucket in FILE: unknown key; did you mean primary.bucket?",
  },
  "a daemon's key inside a backend": {
    json: { primary: { ...s3, upload_threads: 3 } },
    message: "Cannot use primary.upload_threads in FILE: unknown key; " +
      "did you mean upload_threads outside primary?",
  },
  "a key of another type of backend": {
    json: { primary: { ...nfs, bucket: "b" } },
    message: "Cannot use primary.bucket in FILE: a backend of type nfs has no such setting; " +
      "allowed is type, path",
  },
  "a wrong type": {
    json: { upload_threads: "8" },
    message: 'Cannot use upload_threads in FILE: "8" is not a number; ' +
      "allowed is a whole number from 1 to 1024",
  },
  "a value out of range": {
    flags: { "--upload-threads": "0" },
    message: "Cannot use --upload-threads '0': below 1; allowed is a whole number from 1 to 1024",
  },
  "a fraction where whole numbers are due": {
    json: { stats_interval: 1.5 },
    message: "Cannot use stats_interval in FILE: 1.5 is not a whole number; " +
      "allowed is a whole number from 0 to 86400 (seconds)",
  },
  "no size at all": {
    flags: { "--max-cache-gb": "0" },
    message: "Cannot use --max-cache-gb '0': not above 0; " +
      "allowed is a number of GiB above 0, at most 8388607",
  },
  "a number for a switch": {
    json: { read_only: 1 },
    message: "Cannot use read_only in FILE: 1 is neither true nor false; allowed is true or false",
  },
  "another word for verify_ssl": {
    json: { primary: { ...s3, verify_ssl: "no" } },
    message: 'Cannot use primary.verify_ssl in FILE: "no" is neither true nor false; ' +
      "allowed is true or false",
  },
  "an unknown storage type": {
    flags: { "--primary-type": "s4" },
    message: "Cannot use --primary-type 's4': not one of these names; " +
      "allowed is s3, azure, gcs, nfs or peer",
  },
  "an endpoint without scheme": {
    json: { primary: { ...s3, endpoint: "minio:9000" } },
    message: 'Cannot use primary.endpoint in FILE: "minio:9000" is not an http(s) URL; ' +
      "allowed is a URL such as https://host:9000",
  },
  "a rate whose unit was forgotten": {
    json: { upload_bandwidth: "50" },
    message:
      'Cannot use upload_bandwidth in FILE: "50" is not such a rate; allowed is a rate such as ' +
      '"50MB", 1KB at least, or rates by time of day such as "08:00-18:00=20MB, 200MB"',
  },
  "a bucket with what comes behind it": {
    json: { primary: { ...s3, bucket: "s3://depots/p4" } },
    message: 'Cannot use primary.bucket in FILE: "s3://depots/p4" is more than a name; ' +
      "allowed is a name; what stands behind it goes into path_prefix",
  },
  "an endpoint with the bucket behind it": {
    json: { primary: { ...s3, bucket: "depots", endpoint: "https://minio:9000/depots/" } },
    message: "Cannot use primary.endpoint 'https://minio:9000/depots': it has the bucket in it; " +
      "allowed is the server alone, such as https://host:9000, and 'depots' as primary.bucket",
  },
  "an endpoint with the bucket before it": {
    json: {
      primary: { ...s3, bucket: "depots", endpoint: "https://depots.s3.eu-west-1.amazonaws.com" },
    },
    message:
      "Cannot use primary.endpoint 'https://depots.s3.eu-west-1.amazonaws.com': it has the " +
      "bucket in it; allowed is the server alone, such as https://host:9000, and 'depots' as " +
      "primary.bucket",
  },
  "a line break in a value, on one line": {
    flags: { "--primary-bucket": "my\nbucket" },
    message:
      "Cannot use --primary-bucket 'my\\nbucket': not free of control characters such as a " +
      "line break; allowed is a name; what stands behind it goes into path_prefix",
  },
  "a value pasted with a space": {
    json: { primary: { ...s3, region: " eu-west-1" } },
    message: 'Cannot use primary.region in FILE: " eu-west-1" is padded with spaces; ' +
      "allowed is text of at least one character",
  },
  "a key in the environment that was pasted with a line break": {
    json: { primary: s3 },
    env: { AWS_ACCESS_KEY_ID: "AKIA\r", AWS_SECRET_ACCESS_KEY: "s" },
    message: "Cannot use AWS_ACCESS_KEY_ID: not free of control characters such as a line break; " +
      "allowed is text of at least one character",
  },
  "a value that is too long to be shown": {
    flags: { "--log-format": "x".repeat(300) },
    message: `Cannot use --log-format '${"x".repeat(200)}…': not one of these names; ` +
      "allowed is text or json",
  },
  "a path that is too long": {
    json: { log_file: "/" + "x".repeat(4096) },
    message: `Cannot use log_file in FILE: "/${"x".repeat(198)}… is too long for a path; ` +
      "allowed is a path",
  },
  "a place for backups that is no absolute directory": {
    json: { backup_to: "backups" },
    message: "Cannot use backup_to in FILE 'backups': allowed is an absolute directory, or " +
      "s3://bucket/prefix, gs://bucket/prefix or azure://container/prefix",
  },
  "a wrong mode": {
    json: { socket_mode: "0999" },
    message: 'Cannot use socket_mode in FILE: "0999" is not octal permission bits; ' +
      'allowed is octal permission bits in quotes such as "0660"',
  },
  "a glob for a list of globs": {
    json: { exclude: "*.bak" },
    message: 'Cannot use exclude in FILE: "*.bak" is not a list; ' +
      'allowed is a list of globs such as ["*.bak"]',
  },
  "a backend that is no object": {
    json: { primary: "s3" },
    message: "Cannot use primary in FILE: not an object; allowed is an object { … }",
  },
  "a document that is no object": {
    json: "[]",
    message: "Cannot use FILE: not an object; allowed is an object { … }",
  },
  "one size in two spellings": {
    json: { max_cache_gb: 1, max_cache_bytes: 1 },
    message: "Cannot use max_cache_gb in FILE and max_cache_bytes in FILE together: " +
      "give only one",
  },
  "one size in two flags": {
    flags: { "--low-watermark-gb": "1", "--low-watermark-bytes": "1" },
    message: "Cannot use --low-watermark-gb and --low-watermark-bytes together: give only one",
  },
  "a watermark above the maximum": {
    flags: { "--low-watermark-gb": "600" },
    json: { max_cache_gb: 500 },
    message: "Cannot use --low-watermark-gb: 600 GiB is above the maximum of 500 GiB " +
      "(max_cache_gb in FILE); allowed is at most the maximum",
  },
  "a secret of the wrong type, which is not shown": {
    json: { primary: { ...s3, secret_key: 12345 } },
    message: "Cannot use primary.secret_key in FILE: not text; " +
      "allowed is text of at least one character",
  },
  "an empty secret flag": {
    json: { primary: s3 },
    flags: { "--primary-secret-key": "" },
    message: "Cannot use --primary-secret-key: empty; allowed is text of at least one character",
  },
  "half a key pair": {
    json: { primary: { ...s3, access_key: "a" } },
    message: "Cannot use primary.access_key without primary.secret_key: give both, " +
      "or neither for the SDK's provider chain",
  },
  "a profile beside a key": {
    json: { primary: { ...s3, profile: "p", access_key: "a", secret_key: "s" } },
    message: "Cannot use primary.access_key in FILE and primary.profile together: give only one",
  },
  "half a client certificate": {
    json: { primary: { ...s3, client_cert_path: "FILE" } },
    message: "Cannot use one of primary.client_cert_path and primary.client_key_path alone: " +
      "give both",
  },
  "a client certificate for a server that is not verified": {
    json: {
      primary: { ...s3, client_cert_path: "FILE", client_key_path: "FILE", verify_ssl: false },
    },
    message: "Cannot use primary.client_cert_path without verifying the server: give its CA in " +
      "primary.ca_cert_path instead of turning primary.verify_ssl off",
  },
  "a storage class that cannot be read at once": {
    json: { primary: { ...s3, storage_class: "DEEP_ARCHIVE" } },
    message: "Cannot use primary.storage_class 'DEEP_ARCHIVE': evicted files could not be read " +
      "again at once; allowed is a class with immediate access, such as GLACIER_IR",
  },
  "parts that are no whole slices": {
    json: { primary: { ...s3, part_size_mb: 20 } },
    message: "Cannot use primary.part_size_mb 20: allowed is a multiple of 8",
  },
  "a tag without name": {
    json: { primary: { ...s3, object_tags: "a=1&=2" } },
    message: "Cannot use primary.object_tags 'a=1&=2': allowed are up to 10 different tags, " +
      "written name=value&name=value, names of up to 128 and values of up to 256 characters",
  },
  "an S3 backend without bucket": {
    json: { primary: { type: "s3" } },
    message: "Cannot start without primary.bucket (bucket that holds the objects): " +
      "give --primary-bucket or the JSON key in the file of --config",
  },
  "a secondary without type": {
    flags: { "--secondary-bucket": "b" },
    message:
      "Cannot start without secondary.type (s3, azure, gcs, nfs, or peer: another daemon, only read): " +
      "give --secondary-type or the JSON key in the file of --config",
  },
  "a peer without endpoint": {
    json: { read_only: true, primary: { type: "peer", token } },
    message: "Cannot use a peer without endpoint: allowed is https://host:port of a daemon with " +
      "peer_listen",
  },
  "a peer in the clear": {
    json: { read_only: true, primary: { type: "peer", token, endpoint: "http://a:1" } },
    message: "Cannot use primary.endpoint 'http://a:1': allowed is https://host:port of a daemon " +
      "with peer_listen",
  },
  "a peer without token": {
    json: { read_only: true, primary: { type: "peer", endpoint: "https://a:1" } },
    message: "Cannot use a peer without its token: give primary.token_file",
  },
  "a peer with a token that can be guessed": {
    json: { read_only: true, primary: { type: "peer", token: "secret", endpoint: "https://a:1" } },
    message: "Cannot use primary.token: it is shorter than 16 characters; 'openssl rand -hex 32' " +
      "makes a good one",
  },
  "a peer for who writes": {
    json: { secondary: { type: "peer", token, endpoint: "https://a:1" } },
    message: "Cannot use secondary.type peer without read_only: only replicas read from other " +
      "daemons",
  },
  "a secondary that is the primary": {
    json: { secondary: { type: "nfs", path: "DIR/store/../store" } },
    message: "Cannot use the secondary storage: it is the primary's place (nfs DIR/store); " +
      "take it out, or name another one",
  },
  "a secondary that is the primary, with another region and key": {
    json: {
      primary: { ...s3, path_prefix: "depot" },
      secondary: { ...s3, region: "eu-west-1", access_key: "a", secret_key: "b" },
    },
    message: "Cannot use the secondary storage: it is the primary's place (s3 b/depot); " +
      "take it out, or name another one",
  },
  "peers served without TLS": {
    json: { peer_listen: "127.0.0.1:0" },
    message: "Cannot use peer_listen without peer_cert_path: peers are served over TLS, and to " +
      "those with the token",
  },
  "peers served to everybody": {
    json: { peer_listen: "127.0.0.1:0", peer_cert_path: "FILE", peer_key_path: "FILE" },
    message: "Cannot use peer_listen without peer_token_file: peers are served over TLS, and to " +
      "those with the token",
  },
  "peers served with what is no certificate": {
    json: {
      peer_listen: "127.0.0.1:0",
      peer_cert_path: "FILE",
      peer_key_path: "FILE",
      peer_token_file: "FILE",
    },
    message: "Cannot use peer_cert_path 'FILE': there is no certificate in it; " +
      "allowed is a PEM file with one",
  },
  "an Azure backend without account": {
    json: { primary: { type: "azure", container: "c" } },
    message: "Cannot start without primary.account_name (storage account): " +
      "give --primary-account-name or the JSON key in the file of --config",
  },
  "an Azure backend with key and token": {
    json: {
      primary: {
        type: "azure",
        container: "c",
        account_name: "n",
        account_key: "k",
        sas_token: "t",
      },
    },
    message: "Cannot use primary.account_key and primary.sas_token together: give only one",
  },
  "no primary": {
    json: `{"depot_path": "DIR/depot"}`,
    message: "Cannot start without a storage backend: give --primary-type or primary.type; " +
      "allowed is s3, azure, gcs, nfs, peer",
  },
  "no depot": {
    json: "{}",
    message: "Cannot start without depot_path (the depot directory to cache): " +
      "give --depot-path or the JSON key in the file of --config",
  },
  "a depot that does not exist": {
    flags: { "--depot-path": "DIR/none" },
    message: "Cannot use --depot-path 'DIR/none': it does not exist; " +
      "allowed is an existing directory",
  },
  "a depot that is a file": {
    flags: { "--depot-path": "FILE" },
    message: "Cannot use --depot-path 'FILE': not a directory; allowed is an existing directory",
  },
  "a store that does not exist": {
    json: { primary: { type: "nfs", path: "DIR/none" } },
    message: "Cannot use primary.path in FILE 'DIR/none': it does not exist; " +
      "allowed is an existing directory",
  },
  "a store inside the depot": {
    json: { primary: { type: "nfs", path: "DIR/link" } },
    message: "Cannot use primary.path in FILE 'DIR/link': it is inside the depot DIR/depot; " +
      "allowed is a directory outside of it",
  },
  "an access log among the depot's files": {
    json: { access_db_path: "DIR/depot/access" },
    message: "Cannot use access_db_path in FILE 'DIR/depot/access': it is among the files of the " +
      "depot DIR/depot; allowed is a directory outside of it, or in its .p4cache",
  },
  "a CA file that does not exist": {
    json: { primary: { ...s3, ca_cert_path: "DIR/ca.pem" } },
    message: "Cannot use primary.ca_cert_path in FILE 'DIR/ca.pem': it does not exist; " +
      "allowed is an existing file",
  },
  "a CA file that is something else": {
    json: { primary: { ...s3, ca_cert_path: "FILE" } },
    message: "Cannot use primary.ca_cert_path in FILE 'FILE': there is no certificate in it; " +
      "allowed is a PEM file with one",
  },
  "a configuration file that does not exist": {
    flags: { "--config": "DIR/none.json" },
    message: "Cannot read DIR/none.json: no such file; --config takes a JSON file",
  },
  "a wrong token": {
    json: '{\n  "depot_path": "aaaaaaaaaaaaaaaaaaaaaaaa",\n  "read_only": tru\n}',
    message: "Cannot read FILE at line 3, column 19: unexpected character; " +
      "the file must be JSON without comments",
  },
  "a comma too many": {
    json: '{"read_only": true,\n}',
    message: "Cannot read FILE at line 2, column 1: expected double-quoted property name; " +
      "the file must be JSON without comments",
  },
  "a file that is cut short": {
    json: '{"primary": {',
    message: "Cannot read FILE at line 1, column 14: expected property name or '}'; " +
      "the file must be JSON without comments",
  },
  "an empty file": {
    json: "",
    message: "Cannot read FILE at line 1, column 1: unexpected end of the file; " +
      "the file must be JSON without comments",
  },
};

for (const [what, { flags = {}, json = {}, env = {}, message }] of Object.entries(CASES)) {
  Deno.test(`one line refuses ${what}`, () => {
    const dir = Deno.makeTempDirSync({ prefix: "p4cache-config-" });
    try {
      Deno.mkdirSync(`${dir}/depot/inside`, { recursive: true });
      Deno.mkdirSync(`${dir}/store`);
      Deno.symlinkSync(`${dir}/depot/inside`, `${dir}/link`);
      const file = `${dir}/config.json`;
      const place = (text: string) => text.replaceAll("DIR", dir).replaceAll("FILE", file);
      const good = { depot_path: "DIR/depot", primary: nfs };
      const text = typeof json === "string" ? json : JSON.stringify({ ...good, ...json });
      Deno.writeTextFileSync(file, place(text));
      const typed = new Map<string, string | true>([["--config", file]]);
      for (const [flag, value] of Object.entries(flags)) {
        typed.set(flag, value === true ? true : place(value));
      }
      const error = assertThrows(() => loadConfig(typed, (name) => env[name]), ConfigError);
      assertEquals(error.message, place(message));
      assertEquals(error.exitCode, 2);
      assertEquals([...Deno.readDirSync(`${dir}/depot`)].length, 1, "the depot was touched");
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
}
