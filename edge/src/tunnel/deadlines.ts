/**
 * Looks now and then at the calls on one socket of a runner: whether one of them is due, and whether the runner is still heard. All calls share one timer, as one per
 * call costs more than the look; it stands only while there is a call, so that an object without calls may sleep.
 *
 *   no call ──first──▶ timer set, never later than the soonest call is due ──last one over──▶ no call
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import type { Session } from './sessions.ts'

/** The longest time between two looks. */
const lookMs = 10_000

export interface Watched {
  /** When it is given up unless something moves. */
  readonly dueAt: number
  /** Gives it up. */
  expire(): void
}

const watches = new WeakMap<Session, Watch>()

/** Watches a call until the answer is called. */
export function watch(session: Session, clock: Clock, call: Watched): () => void {
  let found = watches.get(session)
  if (found === undefined) {
    found = new Watch(session, clock)
    watches.set(session, found)
  }
  return found.add(call)
}

class Watch {
  readonly #session: Session
  readonly #clock: Clock
  readonly #calls = new Set<Watched>()
  #lookAt = Number.POSITIVE_INFINITY
  #stop: () => void = () => undefined

  constructor(session: Session, clock: Clock) {
    this.#session = session
    this.#clock = clock
  }

  add(call: Watched): () => void {
    this.#calls.add(call)
    this.#lookBy(call.dueAt)
    return () => this.#leave(call)
  }

  #leave(call: Watched): void {
    if (!this.#calls.delete(call) || this.#calls.size > 0) return
    this.#stop()
    this.#lookAt = Number.POSITIVE_INFINITY
  }

  #lookBy(dueAt: number): void {
    const now = this.#clock.now()
    const at = Math.min(dueAt, now + lookMs)
    if (at >= this.#lookAt) return
    this.#stop()
    this.#lookAt = at
    this.#stop = this.#clock.after(at - now, () => this.#look())
  }

  #look(): void {
    this.#lookAt = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    for (const call of this.#calls) {
      if (call.dueAt > now) continue
      // Its own end may come a moment later; it is not asked twice.
      this.#calls.delete(call)
      call.expire()
    }
    if (this.#calls.size > 0 && !this.#session.isAlive()) {
      this.#session.drop(new AppError('runner_disconnected', 'cannot finish the call: its runner fell silent'))
    }
    let soonest = Number.POSITIVE_INFINITY
    for (const { dueAt } of this.#calls) soonest = Math.min(soonest, dueAt)
    if (soonest < Number.POSITIVE_INFINITY) this.#lookBy(soonest)
  }
}
