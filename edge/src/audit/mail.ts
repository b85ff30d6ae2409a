/**
 * Notes for audit logs on their way to the sandboxes' objects. What an isolate gathers for one sandbox within a moment goes there in one
 * call, made by the request that noted first: that costs a fraction of a call each. Only plain data waits here, never a promise, as those
 * belong to the request that made them.
 * What is noted first is written first: while one batch is on its way, the next of that sandbox waits.
 *
 *   none ──note──▶ waiting ──a moment later, or somebody reads the log──▶ sent
 */

import type { Clock } from '@portico/shared/clock'
import { unwrap } from '../outcome.ts'
import type { AuditNote, Caller, Objects } from '../ports.ts'

/** So long the first note of a batch waits for more. */
export const gatherMs = 250
/** A batch of so many does not wait. */
const mostGathered = 256
/** How often a batch looks whether the one before it has arrived. */
const lookMs = 20
/** So long it waits for that at most: whoever sent the other may have been cut off. */
const patienceMs = 5000

export class AuditMail {
  readonly #clock: Clock
  readonly #waiting = new Map<string, AuditNote[]>()
  /** Whose batches are on their way, since when. */
  readonly #sent = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Takes notes. The work is done when somebody has sent them, or will: the caller keeps its request alive until then. */
  async post(objects: Objects, caller: Caller, sandbox: string, notes: readonly AuditNote[]): Promise<void> {
    const waiting = this.#waiting.get(keyOf(caller, sandbox))
    if (waiting !== undefined) {
      waiting.push(...notes)
      if (waiting.length >= mostGathered) await this.send(objects, caller, sandbox)
      return
    }
    this.#waiting.set(keyOf(caller, sandbox), [...notes])
    await new Promise<void>((resolve) => this.#clock.after(gatherMs, resolve))
    await this.send(objects, caller, sandbox)
  }

  /** Sends what waits for this sandbox, after what is on its way. */
  async send(objects: Objects, caller: Caller, sandbox: string): Promise<void> {
    const key = keyOf(caller, sandbox)
    await this.#arrivalOf(key)
    const notes = this.#waiting.get(key)
    if (notes === undefined) return
    this.#waiting.delete(key)
    const now = this.#clock.now()
    this.#sent.set(key, now)
    try {
      unwrap(await objects.sandbox(sandbox).note(caller, notes))
    } finally {
      if (this.#sent.get(key) === now) this.#sent.delete(key)
    }
  }

  async #arrivalOf(key: string): Promise<void> {
    for (;;) {
      const since = this.#sent.get(key)
      if (since === undefined || this.#clock.now() - since > patienceMs) return
      await new Promise<void>((resolve) => this.#clock.after(lookMs, resolve))
    }
  }
}

/** By owner, too: who asks for somebody else's sandbox adds nothing to its notes. */
function keyOf({ account, region }: Caller, sandbox: string): string {
  return `${account} ${region} ${sandbox}`
}
