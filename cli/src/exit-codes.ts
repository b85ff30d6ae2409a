/** Exit codes. A guest command's own code is ours; these are the others, as `env`, `timeout` and the shell have them. */

/** What was checked does not hold: an audit log that was touched. */
export const wrong = 1

/** The guest command was ended by its timeout. */
export const timedOut = 124

/** Portico itself failed; nothing is said of the guest command. */
export const failed = 125

const signals: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }

/** A signal ended us. */
export function endedBy(signal: string): number {
  return 128 + (signals[signal] ?? 0)
}
