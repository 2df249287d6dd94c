/**
 * What the engine does without being asked: the scan at start and now and then, uploads, clearing up, and
 * the look at the watermark.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { Config } from "../config/config.ts";
import { counted } from "../counted.ts";
import { describeError } from "../observe/logging.ts";
import type { Engine } from "./engine.ts";

/** Why nothing is evicted until the depot was compared with a manifest from a backup. */
const RESTORED = "the manifest was put back from a backup, and is being compared with the depot";

/** How often the watermark is looked at besides after each restore, ms. */
const EVICT_CHECK_MS = 500;

/** Scan at start and every interval, uploads, and the look at the watermark. */
export function startBackground(
  config: Config,
  engine: Engine,
  log: Logger,
): { stop(): void; readonly done: Promise<void> } {
  const { scanner, uploader, evictor, garbage, renames, unsettled } = engine;
  if (!config.readOnly) {
    renames.start();
    uploader.start();
    garbage.start();
    unsettled.start();
  }
  engine.platterSync.start();
  const evictTimer = setInterval(() => evictor.notice(), EVICT_CHECK_MS);
  const interval = config.reconcileIntervalSeconds;
  const reconcileTimer = config.readOnly || interval === 0 ? null : setInterval(
    () => scanner.requestReconcile("periodic check", true),
    interval * 1000,
  );
  const isRestored = engine.restored.sinceSeconds !== null;
  const scans = !config.readOnly && (isRestored || !config.skipStartupScan);
  if (isRestored && evictor.heldBecause === null) evictor.hold(RESTORED);
  const done = !scans ? Promise.resolve() : scanner.scanAll()
    .then(async (r) => {
      log.info(
        `Startup scan: ${
          counted(r.files, "file")
        }, ${r.changed} to upload, ${r.dropped} no longer there, ` +
          `${r.problems} unreadable`,
      );
      if (isRestored && !scanner.isStopped) await trustRestored(engine);
    })
    .catch((error) => {
      log.error(`The startup scan failed: ${describeError(error)}`);
      scanner.requestReconcile("the startup scan failed");
    });
  return {
    done,
    stop: () => {
      clearInterval(evictTimer);
      if (reconcileTimer !== null) clearInterval(reconcileTimer);
      void scanner.stop();
    },
  };
}

/** The depot was compared with the manifest that was put back: from now on it is the depot's own. */
async function trustRestored({ manifest, restored, evictor }: Engine): Promise<void> {
  // What was found must be durable before the mark is gone.
  await manifest.commit();
  restored.clear();
  await manifest.commit();
  if (evictor.heldBecause === RESTORED) evictor.hold(null);
}

/**
 * Takes live settings that changed into use, as far as the parts do not read them when they need them.
 * @param changed Their keys.
 */
export function adjustEngine(engine: Engine, changed: readonly string[]): void {
  const { uploader, fetcher, evictor, scanner } = engine;
  uploader.adjust();
  fetcher.adjust();
  evictor.notice();
  if (changed.includes("exclude")) scanner.requestReconcile("other paths are excluded now");
}
