/**
 * Signals that the daemon answers: SIGTERM and SIGINT end it, SIGHUP reloads the configuration and
 * opens the log again, SIGUSR1 only opens the log again, SIGUSR2 writes the state to the log.
 *
 * @module
 */

import type { LogOutput } from "../observe/logging.ts";

/** What an operator asks for; the daemon fills in what it does then. */
export interface OperatorSignals {
  /** After the log was opened again. */
  onReload: () => void;
  onDump: () => void;
}

/** Listens from the first moment on: the signals' own effect is the end of the process. */
export function listenToOperator(output: Pick<LogOutput, "reopen">): OperatorSignals {
  const signals: OperatorSignals = { onReload: () => {}, onDump: () => {} };
  Deno.addSignalListener("SIGHUP", () => {
    output.reopen();
    signals.onReload();
  });
  Deno.addSignalListener("SIGUSR1", () => output.reopen());
  Deno.addSignalListener("SIGUSR2", () => signals.onDump());
  return signals;
}

/** Resolves with the name of the first signal that asks for the end; a second one ends at once. */
export function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      Deno.addSignalListener(signal, () => {
        if (asked) Deno.exit(1);
        asked = true;
        resolve(signal);
      });
    }
  });
}
