/**
 * What a sandbox holds on this host: its machine and its place while it has them, the suspended link while it sleeps, its idle timer, and what it has used
 * so far. It knows nothing of states.
 */

import type { Clock } from '@portico/shared/clock'
import type { AppError } from '@portico/shared/errors'
import type { Usage } from '@portico/shared/usage'
import type { GuestLink } from '../guest/link.ts'
import { IdleTimer } from './idle.ts'
import type { Held } from './work.ts'

export interface IdleOptions {
  readonly seconds: number
  readonly onIdle: () => void
}

export class Holding {
  readonly #clock: Clock
  #held: Held | undefined
  #link: GuestLink | undefined
  #idle: IdleTimer | undefined
  #usage: Usage

  constructor(clock: Clock, usage: Usage) {
    this.#clock = clock
    this.#usage = usage
  }

  get held(): Held | undefined {
    return this.#held
  }

  /** Of a machine that sleeps, if it can still go on. */
  get link(): GuestLink | undefined {
    return this.#link?.suspended === true ? this.#link : undefined
  }

  /** As it was last settled: when it fell asleep, or was freed. */
  get usage(): Usage {
    return this.#usage
  }

  get idle(): IdleTimer | undefined {
    return this.#idle
  }

  /** Usage so far. */
  async read(): Promise<Usage> {
    return this.#held ? await this.#held.meter.read() : this.#usage
  }

  /** Takes a machine; its idle time begins. */
  take(held: Held, { seconds, onIdle }: IdleOptions): void {
    this.#held = held
    this.#link = undefined
    this.#idle?.restart()
    this.#idle ??= new IdleTimer(this.#clock, seconds, onIdle)
  }

  /** The machine is saved and gone. */
  asleep(usage: Usage): void {
    this.#link = this.#held?.ready.link
    this.#held = undefined
    this.#usage = usage
  }

  /** Takes the last measure and gives everything back. Rejects with what could not be freed, having given back the rest. */
  async free(error: AppError): Promise<void> {
    this.#idle?.stop()
    this.#link?.close(error)
    this.#link = undefined
    const held = this.#held
    if (!held) return
    try {
      this.#usage = await held.meter.finish()
      await held.ready.unwind(error)
    } finally {
      this.#held = undefined
      held.place.release()
    }
  }
}
