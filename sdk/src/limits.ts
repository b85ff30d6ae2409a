/** How long a call may take, in milliseconds, unless its signal ends it earlier. */

/** Calls that only look something up or change a record. */
export const shortMs = 60_000

/** A boot: seconds as a rule, longer where a busy host emulates the machine. */
export const createMs = 180_000

/** Saving a machine or waking a saved one: milliseconds as a rule, longer where much memory goes through a busy disk. */
export const saveMs = 180_000

/** What a command's own timeout is given on top: the platform itself answers within 30 s of it. */
export const execGraceMs = 45_000

/** The platform's own default for a command's timeout. */
export const execDefaultSec = 30

/** A whole upload: `fetch` does not tell how far it is. */
export const uploadMs = 15 * 60_000

/** How long a download may stand still. */
export const idleMs = 60_000

/** Tries of a call that is safe to repeat, and the delays in between where the platform does not ask for a longer one. */
export const retries = { tries: 4, firstMs: 100, maxMs: 1000 } as const

/** A longer wait than this is the program's to decide on: the call fails, and its error says how long. */
export const longestWaitMs = 3000
