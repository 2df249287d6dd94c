/**
 * The daemon's settings after parsing: every value checked, every default filled in, every path
 * absolute. Units are in the names.
 *
 * @module
 */

import type { LogLevel } from "./log_levels.ts";
import type { EvictPolicy } from "../manifest/rank.ts";

/** Everything the daemon is told. */
export interface Config {
  /** The depot directory; absolute, exists. */
  readonly depotPath: string;
  /** Replica mode: no watching, no uploads. */
  readonly readOnly: boolean;
  readonly primary: BackendConfig;
  /** Whether one writer at most is made sure of, by a lease in the primary; auto: where it keeps one. */
  readonly lease: "auto" | "on" | "off";
  readonly leaseTtlSeconds: number;
  /** Only ever read. */
  readonly secondary: BackendConfig | null;
  readonly maxCacheBytes: number;
  /** At most {@link maxCacheBytes}; eviction starts above it. */
  readonly lowWatermarkBytes: number;
  /** Large files in flight at once, at most. */
  readonly uploadThreads: number;
  readonly uploadConcurrency: number;
  /** Where it may grow to; counts only above {@link uploadConcurrency}. */
  readonly uploadConcurrencyMax: number;
  readonly uploadBatchSize: number;
  readonly uploadPollIntervalMs: number;
  readonly restoreThreads: number;
  /** Bytes a second to storage, as `bandwidth.ts` reads it; null: no limit. */
  readonly uploadBandwidth: string | null;
  /** Bytes a second from storage. */
  readonly downloadBandwidth: string | null;
  /** To each backend; null: no limit. */
  readonly maxRequestsPerSecond: number | null;
  /** Try the backends at start. */
  readonly probe: boolean;
  readonly skipStartupScan: boolean;
  /** Detach from the terminal. */
  readonly daemon: boolean;
  readonly pidFile: string | null;
  /** Null: log to stderr. */
  readonly logFile: string | null;
  readonly verbose: boolean;
  readonly logFormat: "text" | "json";
  /** Null: info, or debug when verbose. */
  readonly logLevel: LogLevel | null;
  /** Levels of single modules, as `log_levels.ts` reads them. */
  readonly logLevels: string | null;
  /** 0: the log file is not rotated by us. */
  readonly logMaxMib: number;
  /** Old log files that are kept. */
  readonly logKeep: number;
  /** 0: no stats line. */
  readonly statsIntervalSeconds: number;
  readonly metricsFile: string | null;
  readonly metricsIntervalSeconds: number;
  /** As `listen_address.ts` reads it; null: no HTTP. */
  readonly httpListen: string | null;
  /** Whether HTTP may be served to other machines. */
  readonly httpAllowRemote: boolean;
  /** Degraded when a file waits longer for its upload; 0: never. */
  readonly healthDirtyAgeSeconds: number;
  /** Degraded when more of the recent transfers failed; 0: never. */
  readonly healthFailurePercent: number;
  /** Failing when the primary is unreachable for longer; 0: never. */
  readonly healthBackendDownSeconds: number;
  /** Degraded when less of the depot's filesystem is free; 0: never. */
  readonly healthDiskFreePercent: number;
  readonly accessLogEnabled: boolean;
  readonly accessBatchSize: number;
  readonly accessFlushIntervalSeconds: number;
  readonly accessSyncIntervalSeconds: number;
  readonly accessMapsizeGib: number;
  readonly accessDbPath: string;
  /** 0: for ever. */
  readonly accessRetentionDays: number;
  /** Globs of depot paths that are never cached, beside the built-in ones. */
  readonly exclude: readonly string[];
  readonly evictPolicy: EvictPolicy;
  /** Files younger than this stay. */
  readonly evictMinAgeSeconds: number;
  /** What the depot's filesystem keeps free; 0: no floor. */
  readonly minFreeBytes: number;
  readonly minFreeInodes: number;
  /** Of a replica: a look at the storage is good for so long. */
  readonly revalidateAfterSeconds: number;
  readonly revalidateTimeoutSeconds: number;
  /** Whether a copy that could not be revalidated is served. */
  readonly serveStale: boolean;
  /** How long a replica waits for an archive that nobody has stored yet. */
  readonly dirtyWaitSeconds: number;
  /** Whether a primary tells replicas what changed. */
  readonly changeFeed: boolean;
  readonly changeFeedRetentionSeconds: number;
  /** 0: a replica does not follow it. */
  readonly feedPollIntervalSeconds: number;
  /** `host:port` where other daemons may read this depot; null: nowhere. */
  readonly peerListen: string | null;
  /** PEM files; set together with {@link peerListen}, as is the token's file. */
  readonly peerCertPath: string | null;
  readonly peerKeyPath: string | null;
  readonly peerTokenFile: string | null;
  readonly peerMaxRequestsPerSecond: number;
  /** What happens to the objects of files that p4d deleted. */
  readonly deletePolicy: "keep" | "tombstone";
  readonly deleteGraceSeconds: number;
  /** 0: no scheduled scrub. */
  readonly scrubIntervalSeconds: number;
  readonly scrubFilesPerSecond: number;
  /** Cron pattern, local time; null: no scheduled backups. */
  readonly backupSchedule: string | null;
  /** Scheduled backups that are kept. */
  readonly backupRetention: number;
  /** As `place_config.ts` reads it; null: the primary storage. */
  readonly backupTo: string | null;
  /** 0: no periodic walk. */
  readonly reconcileIntervalSeconds: number;
  readonly shutdownTimeoutSeconds: number;
  /** Permission bits of the sockets. */
  readonly socketMode: number;
  /** About the file itself: what is allowed, but hardly meant; one line each. */
  readonly warnings: readonly string[];
}

/** One place that keeps objects. */
export type BackendConfig = S3Config | AzureConfig | GcsConfig | NfsConfig | PeerConfig;

/** Names of the storage types, as flags and JSON spell them. */
export type BackendType = BackendConfig["type"];

/** What the cloud backends share. */
interface CloudConfig {
  /** Null: the provider's own. */
  readonly endpoint: string | null;
  /** Without slashes at its ends; empty for none. */
  readonly prefix: string;
  /** Null: the system's CAs. */
  readonly caCertPath: string | null;
  readonly verifySsl: boolean;
  /** Set together with {@link clientKeyPath}; null: no mutual TLS. */
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
  readonly idleTimeoutSeconds: number;
}

/** How large objects are sent. */
interface PartsConfig {
  readonly multipartThresholdMib: number;
  /** A multiple of 8. */
  readonly partSizeMib: number;
  readonly partConcurrency: number;
}

/** S3 and what speaks its protocol. */
export interface S3Config extends CloudConfig, PartsConfig {
  readonly type: "s3";
  readonly bucket: string;
  readonly region: string;
  /** Set together with {@link secretKey}; null: the SDK's provider chain. */
  readonly accessKey: string | null;
  readonly secretKey: string | null;
  /** Files that the two were read from, see `secret_file.ts`; null: not from files. */
  readonly accessKeyFile: string | null;
  readonly secretKeyFile: string | null;
  /** Null: {@link accessKey}, or the SDK's provider chain as it is. */
  readonly profile: string | null;
  readonly addressingStyle: "auto" | "path" | "virtual";
  readonly serverSideEncryption: boolean;
  /** Null: keys of the server's own, where encryption is asked for. */
  readonly sseKmsKeyId: string | null;
  /** Null: the bucket's own. */
  readonly storageClass: string | null;
  /** URL-encoded: `a=1&b=2`. */
  readonly objectTags: string | null;
  readonly requesterPays: boolean;
}

/** Azure Blob Storage. At most one of key and token is set; neither: the identity chain. */
export interface AzureConfig extends CloudConfig, PartsConfig {
  readonly type: "azure";
  readonly container: string;
  /** Null only where an endpoint is given. */
  readonly accountName: string | null;
  readonly accountKey: string | null;
  readonly sasToken: string | null;
  /** Files that the two were read from, see `secret_file.ts`; null: not from files. */
  readonly accountKeyFile: string | null;
  readonly sasTokenFile: string | null;
  /** `hot`, `cool` or `cold`; null: the account's own. */
  readonly accessTier: string | null;
}

/** Google Cloud Storage. Without credentials file: application-default credentials. */
export interface GcsConfig extends CloudConfig, PartsConfig {
  readonly type: "gcs";
  readonly bucket: string;
  readonly projectId: string | null;
  readonly credentialsFile: string | null;
  /** Null: the bucket's own. */
  readonly storageClass: string | null;
  /** Full name of a Cloud KMS key; null: the bucket's own encryption. */
  readonly kmsKey: string | null;
  /** Project that pays for requests; null: the bucket's. */
  readonly userProject: string | null;
}

/** Another daemon's depot; only read. */
export interface PeerConfig {
  readonly type: "peer";
  /** `https://host:port`. */
  readonly endpoint: string;
  readonly token: string | null;
  /** File that it was read from, see `secret_file.ts`; null: not from a file. */
  readonly tokenFile: string | null;
  /** Null: the system's CAs. */
  readonly caCertPath: string | null;
  /** Set together with {@link clientKeyPath}; null: no mutual TLS. */
  readonly clientCertPath: string | null;
  readonly clientKeyPath: string | null;
  readonly idleTimeoutSeconds: number;
}

/** A local or mounted directory. */
export interface NfsConfig {
  readonly type: "nfs";
  /** Absolute, exists, not inside the depot. */
  readonly path: string;
}
