/** Limits that more than one interface states. */

/** Children of one fork. */
export const maxForkChildren = 64

/** Checkpoints of one sandbox. */
export const maxCheckpoints = 64
