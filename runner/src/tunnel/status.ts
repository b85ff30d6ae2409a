/**
 * Tells the edge what this runner is and holds: on connect, when it changes, and at least every 30 s. Changes that come while a report is under way
 * are told together by the next one.
 */

import { type Clock, sleep } from '@portico/shared/clock'
import { acknowledged, type RunnerStatus } from '@portico/shared/control'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { call, type Opener } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'

const everyMs = 30_000
const answerLimitMs = 10_000
const retryMs = 1000

export class StatusReporter {
  readonly #read: () => RunnerStatus
  readonly #clock: Clock
  readonly #log: Logger
  #changed: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(read: () => RunnerStatus, clock: Clock, log: Logger) {
    this.#read = read
    this.#clock = clock
    this.#log = log
  }

  /** Something in the status is different now. */
  changed(): void {
    this.#changed.resolve()
  }

  /** Reports over one connection until the signal says that it is over. Never rejects. */
  async report(opener: Opener, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#changed = Promise.withResolvers()
      const told = await this.#tell(opener, signal)
      await this.#pause(told ? everyMs : retryMs, told, signal)
    }
  }

  async #tell(opener: Opener, signal: AbortSignal): Promise<boolean> {
    try {
      const limit = deadline(answerLimitMs, 'report to the edge', signal)
      await call(opener, this.#read(), acknowledged, { signal: limit })
      return true
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ error: AppError.from(error) }, 'tunnel.status')
      return false
    }
  }

  /** Until the time is over, or something changed; a change does not shorten the wait after a failure. */
  async #pause(ms: number, untilChanged: boolean, signal: AbortSignal): Promise<void> {
    const wait = new AbortController()
    const waited = sleep(ms, AbortSignal.any([signal, wait.signal]), this.#clock).catch(() => undefined)
    await (untilChanged ? Promise.race([waited, this.#changed.promise]) : waited)
    wait.abort()
  }
}
