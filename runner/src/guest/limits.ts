/** Every maximum on what a guest may send or hold up, with its reason. */

/** Head of an answer in bytes: the agent's own are some hundred. */
export const maxHeadBytes = 16 * 1024

/** Headers of an answer. */
export const maxHeaders = 64

/** Body of an answer that the runner itself reads (health, identity). */
export const maxOwnBody = 64 * 1024

/** Definitions of all services. */
export const maxServicesBody = 8 * 1024 * 1024

/** From the port's opening to the agent's HELLO, on a machine whose agent was up before. */
export const reopenLimitMs = 5000

/** For an agent to send what is on the way and stop, before a machine is saved; then what is under way is given up. */
export const suspendLimitMs = 3000

/** A command may run for a day; nothing that is asked of a guest takes longer. */
export const maxRequestMs = 25 * 3_600_000

/** Between the guest's clock and ours after the identity was given: both were read within one round trip. */
export const maxClockDriftMs = 1000
