/**
 * Reaching again what goes on by itself: a process, a terminal. A cut is no failure of it; it is tried again with growing delays until nothing was heard for
 * the whole silence that is allowed. What cannot change by waiting is thrown at once.
 */

import { Backoff } from '@portico/shared/backoff'
import { type Clock, sleep } from '@portico/shared/clock'
import { ConflictError, PorticoError, RateLimitError, TimeoutError, UnavailableError } from './errors.ts'
import { reattach } from './limits.ts'

export class Reattachment {
  readonly #backoff = new Backoff(reattach)
  readonly #clock: Clock
  readonly #silenceMs: number
  #heard: number

  constructor(clock: Clock, silenceSec: number) {
    this.#clock = clock
    this.#silenceMs = silenceSec * 1000
    this.#heard = clock.now()
  }

  /** Something has come from it: the silence begins anew. */
  heard(): void {
    this.#heard = this.#clock.now()
    this.#backoff.reset()
  }

  /** Waits until the next try is due; throws the error where there is none. */
  async again(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    if (!mayPass(error)) throw error
    const waitMs = Math.max(this.#backoff.next(), error.retryAfterMs ?? 0)
    if (this.#clock.now() + waitMs - this.#heard > this.#silenceMs) throw error
    await sleep(waitMs, signal ?? new AbortController().signal, this.#clock)
  }
}

/** Whether it may be reached again by itself. A hibernated sandbox wakes when somebody resumes it. */
function mayPass(error: unknown): error is PorticoError {
  if (error instanceof ConflictError) return error.code === 'sandbox_hibernated'
  return (
    error instanceof UnavailableError ||
    error instanceof TimeoutError ||
    error instanceof RateLimitError ||
    (error instanceof PorticoError && error.code === 'guest_error')
  )
}
