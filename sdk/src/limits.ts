/** How long a call may take, in milliseconds, unless its signal ends it earlier. */

/** Calls that only look something up or change a record. */
export const shortMs = 60_000

/** A boot: seconds as a rule; longer than the platform itself waits for a create that pulls its image first. */
export const createMs = 360_000

/** Saving a machine or waking a saved one: milliseconds as a rule, longer where much memory goes through a busy disk. */
export const saveMs = 180_000

/** What a command's own timeout is given on top: the platform itself answers within 30 s of it. */
export const execGraceMs = 45_000

/** The platform's own default for a command's timeout. */
export const execDefaultSec = 30

/** A whole upload: `fetch` does not tell how far it is. */
export const uploadMs = 15 * 60_000

/** Work on a whole tree of files. */
export const treeMs = 15 * 60_000

/** A service may bring its image along, which is built where nobody has used it. */
export const serviceImageMs = 15 * 60_000

/** The longest that a service and those that it needs may take to be ready, and what the call is given on top. */
export const serviceStartMs = 7_200_000 + 60_000

/** The same until it is stopped. */
export const serviceStopMs = 600_000 + 60_000

/** Until a checkpoint is on the disk for good, or back from there: its digests are made of all that it holds. */
export const checkpointMs = 15 * 60_000

/** How long a download may stand still. */
export const idleMs = 60_000

/** Tries of a call that is safe to repeat, and the delays in between where the platform does not ask for a longer one. */
export const retries = { tries: 4, firstMs: 100, maxMs: 1000 } as const

/** A longer wait than this is the program's to decide on: the call fails, and its error says how long. */
export const longestWaitMs = 3000

/** How long an output that is followed may stand still: what is sent where nothing is printed comes every 15 s. */
export const followIdleMs = 45_000

/** How long something that goes on by itself may not be heard of before it is given up. */
export const silenceSec = 300

/** Tries to reach it again. */
export const reattach = { firstMs: 100, maxMs: 5000 } as const

/** How long the platform is asked to wait for the end of a process at a time, and what the call is given on top. */
export const waitSec = 50

/** How much of each of a command's outputs a result keeps. */
export const keptBytes = 10 * 2 ** 20

/** How much of its output is kept in the sandbox while a command is followed from its first byte on. */
export const followedBufferBytes = 8 * 2 ** 20

/** One piece of what is sent to a process. */
export const pieceBytes = 256 * 1024

/** How long a process may take to read one piece before it is looked whether it can be reached. */
export const pieceMs = 60_000

/** How much a socket holds that was not read, or not sent; beyond it the one is attached anew, the other waits. */
export const socketBytes = 4 * 2 ** 20
