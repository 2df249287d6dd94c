/**
 * The one table of settings. Flags, JSON keys, defaults, validation, `--help`, the JSON Schema and
 * the reference page all come from it.
 *
 * @module
 */

import type { AzureConfig, BackendType, Config, GcsConfig, NfsConfig, S3Config } from "./config.ts";
import { EVICT_POLICIES } from "../manifest/rank.ts";
import { GIB, type Kind } from "./kinds.ts";
import { LOG_LEVELS } from "./log_levels.ts";

/** One setting. Two settings with the same field are two spellings of it; only one may be given. */
export interface Setting {
  /** JSON key; below `primary` or `secondary` for a backend's setting. */
  readonly key: string;
  /** Property of the parsed configuration. */
  readonly field: string;
  /** Flag without dashes, without `primary-` or `secondary-`; null: JSON only. */
  readonly flag: string | null;
  /** Value that a valueless flag stands for; true unless given. */
  readonly flagStandsFor?: false;
  readonly kind: Kind;
  /** In the unit of the field; null: none, or worked out from other settings. */
  readonly fallback: string | number | boolean | null | readonly string[];
  /** The default in words, where the value alone does not say it. */
  readonly fallbackText?: string;
  readonly required?: true;
  /** Environment variable read when neither flag nor key is given. */
  readonly env?: string;
  /** One line for `--help` and the reference. */
  readonly help: string;
  /** Never shown. */
  readonly secret?: true;
}

/** A setting of the daemon itself. */
export interface DaemonSetting extends Setting {
  readonly field: keyof Config;
  readonly group: string;
}

/** A setting of a storage backend. */
export interface BackendSetting extends Setting {
  readonly field: keyof S3Config | keyof AzureConfig | keyof GcsConfig | keyof NfsConfig;
  /** Storage types that have it. */
  readonly types: readonly BackendType[];
}

/** The two backends a daemon can have. */
export type Role = "primary" | "secondary";
export const ROLES: readonly Role[] = ["primary", "secondary"];

export const BACKEND_TYPES: readonly BackendType[] = ["s3", "azure", "gcs", "nfs"];

const PATH: Kind = { is: "path" };
const TEXT: Kind = { is: "text" };
const SWITCH: Kind = { is: "switch" };
const DAY = 86_400;
const count = (max: number): Kind => ({ is: "whole", min: 1, max, unit: "" });
const bytes: Kind = { is: "whole", min: 1, max: Number.MAX_SAFE_INTEGER, unit: "bytes" };
const seconds = (min: number, max: number): Kind => ({ is: "whole", min, max, unit: "seconds" });
const mebibytes = (min: number, max: number): Kind => ({ is: "whole", min, max, unit: "MiB" });

/** Settings of the daemon, grouped as `--help` shows them. */
export const DAEMON_SETTINGS: readonly DaemonSetting[] = [
  ...group("Depot", [
    {
      key: "depot_path",
      field: "depotPath",
      flag: "depot-path",
      kind: PATH,
      fallback: null,
      required: true,
      help: "the depot directory to cache",
    },
    {
      key: "read_only",
      field: "readOnly",
      flag: "read-only",
      kind: SWITCH,
      fallback: false,
      help: "replica mode: restore only, never upload",
    },
    {
      key: "exclude",
      field: "exclude",
      flag: null,
      kind: { is: "globs" },
      fallback: [],
      help: "depot paths that are never cached, beside the built-in ones",
    },
    {
      key: "skip_startup_scan",
      field: "skipStartupScan",
      flag: "skip-startup-scan",
      kind: SWITCH,
      fallback: false,
      help: "do not look for files changed while the daemon was down",
    },
    {
      key: "reconcile_interval",
      field: "reconcileIntervalSeconds",
      flag: null,
      kind: seconds(0, 365 * DAY),
      fallback: DAY,
      help: "time between walks that compare the depot with the manifest; 0 turns them off",
    },
  ]),
  ...group("Scrub", [
    {
      key: "scrub_interval",
      field: "scrubIntervalSeconds",
      flag: null,
      kind: seconds(0, 3650 * DAY),
      fallback: 0,
      help:
        "time between scrubs, which read every file here and in storage and compare; 0 is never",
    },
    {
      key: "scrub_files_per_second",
      field: "scrubFilesPerSecond",
      flag: null,
      kind: count(100_000),
      fallback: 20,
      help: "files that a scrub takes in a second at most",
    },
  ]),
  ...group("Cache size", [
    {
      key: "max_cache_gb",
      field: "maxCacheBytes",
      flag: "max-cache-gb",
      kind: { is: "gib" },
      fallback: 100 * GIB,
      fallbackText: "100 GiB",
      help: "most the cache may hold, in GiB",
    },
    {
      key: "max_cache_bytes",
      field: "maxCacheBytes",
      flag: "max-cache-bytes",
      kind: bytes,
      fallback: 100 * GIB,
      fallbackText: "100 GiB",
      help: "the same, in bytes",
    },
    {
      key: "low_watermark_gb",
      field: "lowWatermarkBytes",
      flag: "low-watermark-gb",
      kind: { is: "gib" },
      fallback: 80 * GIB,
      fallbackText: "80 GiB, or 80 % of a maximum below that",
      help: "eviction starts above this many GiB and stops at 90 % of it",
    },
    {
      key: "low_watermark_bytes",
      field: "lowWatermarkBytes",
      flag: "low-watermark-bytes",
      kind: bytes,
      fallback: 80 * GIB,
      fallbackText: "80 GiB, or 80 % of a maximum below that",
      help: "the same, in bytes",
    },
    {
      key: "evict_policy",
      field: "evictPolicy",
      flag: null,
      kind: { is: "choice", of: EVICT_POLICIES },
      fallback: "lru2",
      help:
        "lru evicts by the last access; lru2 by the one before it, so that reading everything " +
        "once, as p4 verify does, flushes nothing",
    },
    {
      key: "evict_min_age",
      field: "evictMinAgeSeconds",
      flag: null,
      kind: seconds(0, 3650 * DAY),
      fallback: 0,
      help: "files used less than this long ago are not evicted",
    },
    {
      key: "min_free_gb",
      field: "minFreeBytes",
      flag: null,
      kind: { is: "gib" },
      fallback: 0,
      fallbackText: "no floor",
      help: "eviction starts, too, when the depot's filesystem has less free space, in GiB",
    },
    {
      key: "min_free_inodes",
      field: "minFreeInodes",
      flag: null,
      kind: { is: "whole", min: 0, max: Number.MAX_SAFE_INTEGER, unit: "inodes" },
      fallback: 0,
      fallbackText: "no floor",
      help: "the same for free inodes",
    },
  ]),
  ...group("Deleted files", [
    {
      key: "delete_policy",
      field: "deletePolicy",
      flag: null,
      kind: { is: "choice", of: ["keep", "tombstone"] },
      fallback: "keep",
      help:
        "what happens to the object of a file that p4d deletes: kept, or removed after the grace",
    },
    {
      key: "delete_grace",
      field: "deleteGraceSeconds",
      flag: null,
      kind: seconds(0, 3650 * DAY),
      fallback: 7 * DAY,
      help: "time between a delete and the removal of its object",
    },
  ]),
  ...group("Transfers", [
    {
      key: "upload_threads",
      field: "uploadThreads",
      flag: "upload-threads",
      kind: count(1024),
      fallback: 8,
      help: "files uploaded side by side",
    },
    {
      key: "upload_concurrency",
      field: "uploadConcurrency",
      flag: null,
      kind: count(4096),
      fallback: 16,
      help: "small files uploaded side by side, to begin with",
    },
    {
      key: "upload_concurrency_max",
      field: "uploadConcurrencyMax",
      flag: null,
      kind: count(4096),
      fallback: 512,
      help:
        "the same at most: more are tried while they get more done, fewer when asked to slow down",
    },
    {
      key: "upload_batch_size",
      field: "uploadBatchSize",
      flag: null,
      kind: count(65_536),
      fallback: 64,
      help: "files taken from the dirty queue at once",
    },
    {
      key: "upload_poll_interval",
      field: "uploadPollIntervalMs",
      flag: null,
      kind: { is: "whole", min: 1, max: 3_600_000, unit: "ms" },
      fallback: 100,
      help: "longest wait before the dirty queue is looked at again",
    },
    {
      key: "restore_threads",
      field: "restoreThreads",
      flag: "restore-threads",
      kind: count(1024),
      fallback: 16,
      help: "files restored side by side",
    },
    {
      key: "upload_bandwidth",
      field: "uploadBandwidth",
      flag: "upload-bandwidth",
      kind: { is: "bandwidth" },
      fallback: null,
      help: "most bytes a second to storage; KB, MB and GB count in 1024s",
    },
    {
      key: "download_bandwidth",
      field: "downloadBandwidth",
      flag: "download-bandwidth",
      kind: { is: "bandwidth" },
      fallback: null,
      help: "most bytes a second from storage",
    },
    {
      key: "max_requests_per_second",
      field: "maxRequestsPerSecond",
      flag: "max-requests-per-second",
      kind: count(1_000_000),
      fallback: null,
      help: "most storage operations begun in a second, for each backend; restores go first",
    },
    {
      key: "probe",
      field: "probe",
      flag: "no-probe",
      flagStandsFor: false,
      kind: SWITCH,
      fallback: true,
      help: "do not try the storage at start",
    },
  ]),
  ...group("Process", [
    {
      key: "daemon",
      field: "daemon",
      flag: "daemon",
      kind: SWITCH,
      fallback: false,
      help: "detach once ready, for systemd's Type=forking",
    },
    {
      key: "pid_file",
      field: "pidFile",
      flag: "pid-file",
      kind: PATH,
      fallback: null,
      help: "written when ready, removed at the end",
    },
    {
      key: "log_file",
      field: "logFile",
      flag: "log-file",
      kind: PATH,
      fallback: null,
      fallbackText: "stderr",
      help: "where the log goes",
    },
    {
      key: "verbose",
      field: "verbose",
      flag: "verbose",
      kind: SWITCH,
      fallback: false,
      help: "log every file's way",
    },
    {
      key: "log_format",
      field: "logFormat",
      flag: "log-format",
      kind: { is: "choice", of: ["text", "json"] },
      fallback: "text",
      help: "json: one object a line, with time, level, module and message",
    },
    {
      key: "log_level",
      field: "logLevel",
      flag: "log-level",
      kind: { is: "choice", of: LOG_LEVELS },
      fallback: null,
      fallbackText: "info, or debug when verbose",
      help: "what is logged at least",
    },
    {
      key: "log_levels",
      field: "logLevels",
      flag: null,
      kind: { is: "logLevels" },
      fallback: null,
      help: "levels of single modules",
    },
    {
      key: "log_max_mb",
      field: "logMaxMib",
      flag: null,
      kind: { is: "whole", min: 0, max: 1_048_576, unit: "MiB" },
      fallback: 0,
      help: "size at which a new log file is begun; 0 leaves that to logrotate",
    },
    {
      key: "log_keep",
      field: "logKeep",
      flag: null,
      kind: count(1000),
      fallback: 5,
      help: "old log files that are kept: log.1, log.2, …",
    },
    {
      key: "shutdown_timeout",
      field: "shutdownTimeoutSeconds",
      flag: null,
      kind: seconds(0, 3600),
      fallback: 30,
      help: "how long a stop waits for transfers under way",
    },
    {
      key: "socket_mode",
      field: "socketMode",
      flag: null,
      kind: { is: "fileMode" },
      fallback: 0o666,
      fallbackText: "0666",
      help: "permission bits of the sockets",
    },
  ]),
  ...group("Monitoring", [
    {
      key: "stats_interval",
      field: "statsIntervalSeconds",
      flag: "stats-interval",
      kind: seconds(0, DAY),
      fallback: 60,
      help: "seconds between stats lines in the log; 0 turns them off",
    },
    {
      key: "metrics_file",
      field: "metricsFile",
      flag: "metrics-file",
      kind: PATH,
      fallback: null,
      help: "Prometheus textfile to write",
    },
    {
      key: "metrics_interval",
      field: "metricsIntervalSeconds",
      flag: "metrics-interval",
      kind: seconds(1, DAY),
      fallback: 15,
      help: "seconds between writes of that file",
    },
    {
      key: "http_listen",
      field: "httpListen",
      flag: "http-listen",
      kind: { is: "listenAddress" },
      fallback: null,
      fallbackText: "off",
      help: "serves /health, /ready, /metrics, /status and a page to look at",
    },
    {
      key: "http_allow_remote",
      field: "httpAllowRemote",
      flag: null,
      kind: SWITCH,
      fallback: false,
      help: "http_listen may be an address that other machines reach; there is no login",
    },
    {
      key: "health_dirty_age",
      field: "healthDirtyAgeSeconds",
      flag: null,
      kind: seconds(0, 365 * DAY),
      fallback: 3600,
      help: "degraded when a file waits longer for its upload; 0 is never",
    },
    {
      key: "health_failure_percent",
      field: "healthFailurePercent",
      flag: null,
      kind: { is: "whole", min: 0, max: 100, unit: "percent" },
      fallback: 10,
      help: "degraded when more of the last five minutes' transfers failed; 0 is never",
    },
    {
      key: "health_backend_down",
      field: "healthBackendDownSeconds",
      flag: null,
      kind: seconds(0, 365 * DAY),
      fallback: 300,
      help: "failing when the primary is down for longer; 0 is never",
    },
    {
      key: "health_disk_free_percent",
      field: "healthDiskFreePercent",
      flag: null,
      kind: { is: "whole", min: 0, max: 99, unit: "percent" },
      fallback: 5,
      help: "degraded when less of the depot's filesystem is free; 0 is never",
    },
  ]),
  ...group("Access log", [
    {
      key: "access_log_enabled",
      field: "accessLogEnabled",
      flag: "no-access-log",
      flagStandsFor: false,
      kind: SWITCH,
      fallback: true,
      help: "do not record when files are read",
    },
    {
      key: "access_batch_size",
      field: "accessBatchSize",
      flag: "access-batch-size",
      kind: count(10_000_000),
      fallback: 10_000,
      help: "accesses written at once at most",
    },
    {
      key: "access_flush_interval_secs",
      field: "accessFlushIntervalSeconds",
      flag: null,
      kind: seconds(1, 3600),
      fallback: 5,
      help: "longest wait before accesses are written",
    },
    {
      key: "access_sync_interval_secs",
      field: "accessSyncIntervalSeconds",
      flag: null,
      kind: seconds(1, DAY),
      fallback: 60,
      help: "time between syncs of the access database to disk",
    },
    {
      key: "access_mapsize_gb",
      field: "accessMapsizeGib",
      flag: "access-mapsize-gb",
      kind: { is: "whole", min: 1, max: 65_536, unit: "GiB" },
      fallback: 512,
      help: "largest size of the access database, in GiB",
    },
    {
      key: "access_db_path",
      field: "accessDbPath",
      flag: "access-db-path",
      kind: PATH,
      fallback: null,
      fallbackText: "<depot>/.p4cache/access/",
      help: "directory of the access database",
    },
    {
      key: "access_retention_days",
      field: "accessRetentionDays",
      flag: null,
      kind: { is: "whole", min: 0, max: 36_500, unit: "days" },
      fallback: 0,
      help: "accesses older than this are forgotten; 0 keeps all",
    },
  ]),
];

const CLOUD: readonly BackendType[] = ["s3", "azure", "gcs"];

/** Settings of a storage backend; each exists for both roles. */
export const BACKEND_SETTINGS: readonly BackendSetting[] = [
  {
    key: "type",
    field: "type",
    flag: "type",
    types: BACKEND_TYPES,
    kind: { is: "choice", of: BACKEND_TYPES },
    fallback: null,
    required: true,
    help: "s3, azure, gcs or nfs",
  },
  {
    key: "endpoint",
    field: "endpoint",
    flag: "endpoint",
    types: CLOUD,
    kind: { is: "url" },
    fallback: null,
    fallbackText: "the provider's own",
    help: "server to talk to",
  },
  {
    key: "bucket",
    field: "bucket",
    flag: "bucket",
    types: ["s3", "gcs"],
    kind: TEXT,
    fallback: null,
    required: true,
    help: "bucket that holds the objects",
  },
  {
    key: "container",
    field: "container",
    flag: "container",
    types: ["azure"],
    kind: TEXT,
    fallback: null,
    required: true,
    help: "container that holds the objects",
  },
  {
    key: "region",
    field: "region",
    flag: "region",
    types: ["s3"],
    kind: TEXT,
    fallback: "us-east-1",
    help: "region of the bucket",
  },
  {
    key: "access_key",
    field: "accessKey",
    flag: "access-key",
    types: ["s3"],
    kind: TEXT,
    fallback: null,
    env: "AWS_ACCESS_KEY_ID",
    fallbackText: "the SDK's provider chain",
    help: "access key id",
    secret: true,
  },
  {
    key: "access_key_file",
    field: "accessKeyFile",
    flag: "access-key-file",
    types: ["s3"],
    kind: { is: "secretFile" },
    fallback: null,
    help: "file that holds the access key id; read again when it changes",
  },
  {
    key: "secret_key",
    field: "secretKey",
    flag: "secret-key",
    types: ["s3"],
    kind: TEXT,
    fallback: null,
    env: "AWS_SECRET_ACCESS_KEY",
    fallbackText: "the SDK's provider chain",
    help: "secret key; better in the environment, flags are visible in ps",
    secret: true,
  },
  {
    key: "secret_key_file",
    field: "secretKeyFile",
    flag: "secret-key-file",
    types: ["s3"],
    kind: { is: "secretFile" },
    fallback: null,
    help: "file that holds the secret key; read again when it changes",
  },
  {
    key: "account_name",
    field: "accountName",
    flag: "account-name",
    types: ["azure"],
    kind: TEXT,
    fallback: null,
    help: "storage account",
  },
  {
    key: "account_key",
    field: "accountKey",
    flag: "account-key",
    types: ["azure"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the identity library's chain",
    help: "key of the storage account",
    secret: true,
  },
  {
    key: "account_key_file",
    field: "accountKeyFile",
    flag: "account-key-file",
    types: ["azure"],
    kind: { is: "secretFile" },
    fallback: null,
    help: "file that holds the account's key; read again when it changes",
  },
  {
    key: "sas_token",
    field: "sasToken",
    flag: "sas-token",
    types: ["azure"],
    kind: TEXT,
    fallback: null,
    help: "shared access signature, instead of the key",
    secret: true,
  },
  {
    key: "sas_token_file",
    field: "sasTokenFile",
    flag: "sas-token-file",
    types: ["azure"],
    kind: { is: "secretFile" },
    fallback: null,
    help: "file that holds the shared access signature; read again when it changes",
  },
  {
    key: "access_tier",
    field: "accessTier",
    flag: "access-tier",
    types: ["azure"],
    kind: { is: "choice", of: ["hot", "cool", "cold"] },
    fallback: null,
    fallbackText: "the account's own",
    help: "tier that objects are stored in",
  },
  {
    key: "project_id",
    field: "projectId",
    flag: "project-id",
    types: ["gcs"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the credentials' own",
    help: "project of the bucket",
  },
  {
    key: "credentials_file",
    field: "credentialsFile",
    flag: "credentials-file",
    types: ["gcs"],
    kind: { is: "secretFile" },
    fallback: null,
    fallbackText: "application-default credentials",
    help: "service account file",
  },
  {
    key: "kms_key",
    field: "kmsKey",
    flag: "kms-key",
    types: ["gcs"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the bucket's own encryption",
    help: "Cloud KMS key to encrypt new objects with: projects/…/cryptoKeys/NAME",
  },
  {
    key: "user_project",
    field: "userProject",
    flag: "user-project",
    types: ["gcs"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the bucket's",
    help: "project that pays for requests, where the bucket is requester pays",
  },
  {
    key: "path",
    field: "path",
    flag: "path",
    types: ["nfs"],
    kind: PATH,
    fallback: null,
    required: true,
    help: "directory that holds the files",
  },
  {
    key: "path_prefix",
    field: "prefix",
    flag: "prefix",
    types: CLOUD,
    kind: { is: "text", mayBeEmpty: true },
    fallback: null,
    fallbackText: "base name of the depot directory",
    help: "goes before every object's name",
  },
  {
    key: "ca_cert_path",
    field: "caCertPath",
    flag: "ca-cert",
    types: CLOUD,
    kind: PATH,
    fallback: null,
    fallbackText: "the system's CAs",
    help: "CA certificates to trust, PEM",
  },
  {
    key: "verify_ssl",
    field: "verifySsl",
    flag: "no-verify-ssl",
    flagStandsFor: false,
    types: CLOUD,
    kind: { is: "switch", orText: true },
    fallback: true,
    help: "do not check the server's certificate",
  },
  {
    key: "server_side_encryption",
    field: "serverSideEncryption",
    flag: "sse",
    types: ["s3"],
    kind: { is: "switch", orText: true },
    fallback: false,
    help: "ask the server to encrypt objects",
  },
  {
    key: "sse_kms_key_id",
    field: "sseKmsKeyId",
    flag: "sse-kms-key-id",
    types: ["s3"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the server's own keys",
    help: "KMS key to encrypt with (id, ARN or alias); alias/aws/s3 is the account's own",
  },
  {
    key: "addressing_style",
    field: "addressingStyle",
    flag: "addressing-style",
    types: ["s3"],
    kind: { is: "choice", of: ["auto", "path", "virtual"] },
    fallback: "auto",
    help: "bucket in the path or in the host's name; auto: path at an endpoint of your own",
  },
  {
    key: "profile",
    field: "profile",
    flag: "profile",
    types: ["s3"],
    kind: TEXT,
    fallback: null,
    fallbackText: "AWS_PROFILE, then default",
    help: "profile of the shared AWS configuration to take credentials from",
  },
  {
    key: "storage_class",
    field: "storageClass",
    flag: "storage-class",
    types: ["s3", "gcs"],
    kind: TEXT,
    fallback: null,
    fallbackText: "the bucket's own",
    help: "storage class of new objects, such as STANDARD_IA (s3) or NEARLINE (gcs)",
  },
  {
    key: "object_tags",
    field: "objectTags",
    flag: "object-tags",
    types: ["s3"],
    kind: TEXT,
    fallback: null,
    help: "tags of new objects, such as team=p4&tier=cache",
  },
  {
    key: "requester_pays",
    field: "requesterPays",
    flag: "requester-pays",
    types: ["s3"],
    kind: { is: "switch", orText: true },
    fallback: false,
    help: "agree to pay for requests to somebody else's bucket",
  },
  {
    key: "client_cert_path",
    field: "clientCertPath",
    flag: "client-cert",
    types: CLOUD,
    kind: PATH,
    fallback: null,
    help: "certificate that the server asks of us (mutual TLS), PEM",
  },
  {
    key: "client_key_path",
    field: "clientKeyPath",
    flag: "client-key",
    types: CLOUD,
    kind: PATH,
    fallback: null,
    help: "key of that certificate, PEM",
  },
  {
    key: "idle_timeout",
    field: "idleTimeoutSeconds",
    flag: "idle-timeout",
    types: CLOUD,
    kind: seconds(1, 3600),
    fallback: 30,
    help: "longest time without progress, connecting included, before a request is given up",
  },
  {
    key: "multipart_threshold_mb",
    field: "multipartThresholdMib",
    flag: null,
    types: CLOUD,
    kind: mebibytes(8, 64),
    fallback: 8,
    help: "objects above this many MiB are sent in parts",
  },
  {
    key: "part_size_mb",
    field: "partSizeMib",
    flag: null,
    types: CLOUD,
    kind: mebibytes(8, 1024),
    fallback: 8,
    help:
      "MiB of each part, a multiple of 8; grown for objects of more parts than the provider allows",
  },
  {
    key: "part_concurrency",
    field: "partConcurrency",
    flag: null,
    types: CLOUD,
    kind: count(64),
    fallback: 4,
    help: "parts of all objects on their way at once; each is held in memory",
  },
];

/** Name of the flag that names the JSON file. */
export const CONFIG_FLAG = "--config";

/** Field of the file that a secret can be read from instead. */
export function secretFileField(setting: Setting): string | null {
  return setting.secret ? `${setting.field}File` : null;
}

/** The flag's full name as typed, or null where the setting has none. */
export function flagName(setting: Setting, role: Role | null): string | null {
  if (setting.flag === null) return null;
  return role === null ? `--${setting.flag}` : `--${role}-${setting.flag}`;
}

/** The JSON key's path as typed: `primary.bucket`. */
export function keyPath(setting: Setting, role: Role | null): string {
  return role === null ? setting.key : `${role}.${setting.key}`;
}

function group(
  name: string,
  settings: readonly Omit<DaemonSetting, "group">[],
): readonly DaemonSetting[] {
  return settings.map((setting) => ({ ...setting, group: name }));
}
