/**
 * Tells when a sandbox was left alone for too long. Every request's start and end counts as activity; one that is under way holds the time off.
 * It owns one timer.
 */

import type { Clock } from '@portico/shared/clock'

export class IdleTimer {
  readonly #clock: Clock
  readonly #onIdle: () => void
  #limitMs: number
  #active = 0
  #since: number
  #cancel: (() => void) | undefined
  #stopped = false

  /** Starts at once; `seconds` 0 never ends a sandbox. */
  constructor(clock: Clock, seconds: number, onIdle: () => void) {
    this.#clock = clock
    this.#onIdle = onIdle
    this.#limitMs = seconds * 1000
    this.#since = clock.now()
    this.#arm()
  }

  /** Begins an activity; the answer ends it and may be called more than once. */
  begin(): () => void {
    this.#active++
    this.#arm()
    let open = true
    return () => {
      if (!open) return
      open = false
      this.#active--
      this.#touch()
    }
  }

  /** Changes the limit; counts as activity. */
  update(seconds: number): void {
    this.#limitMs = seconds * 1000
    this.#touch()
  }

  /** Whether the limit has passed without activity. */
  get expired(): boolean {
    return !this.#stopped && this.#limitMs > 0 && this.#active === 0 && this.#clock.now() - this.#since >= this.#limitMs
  }

  /** Lets no time run out from now on; what is under way still counts. */
  stop(): void {
    this.#stopped = true
    this.#arm()
  }

  /** Begins again after `stop`; counts as activity. */
  restart(): void {
    this.#stopped = false
    this.#touch()
  }

  #touch(): void {
    this.#since = this.#clock.now()
    this.#arm()
  }

  #arm(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#stopped || this.#limitMs === 0 || this.#active > 0) return
    const wait = Math.min(this.#since + this.#limitMs - this.#clock.now(), maxTimerMs)
    this.#cancel = this.#clock.after(Math.max(0, wait), () => (this.expired ? this.#onIdle() : this.#arm()))
  }
}

/** Longer timers fire at once on this platform. */
const maxTimerMs = 2 ** 31 - 1
