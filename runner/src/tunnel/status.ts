/**
 * Tells the edge what this runner is and holds: whenever a socket is opened, when a sandbox changes, a second after another number of machines stands
 * ready, and at least every 30 s, with the load as it is then. Changes that come while a report is under way are told together by the next one. One
 * report is under way at a time, whatever the sockets, so that an older one never arrives last.
 */

import { type Clock, sleep } from '@portico/shared/clock'
import { acknowledged, type RunnerStatus, statusCall } from '@portico/shared/control'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { call } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'
import type { Line, Lines } from './tunnel.ts'

const everyMs = 30_000
const answerLimitMs = 10_000
const retryMs = 1000
/** What changes often and matters little is told so much later, all of it together. */
const soonMs = 1000

export class StatusReporter {
  readonly #read: () => RunnerStatus
  readonly #clock: Clock
  readonly #log: Logger
  #changed: PromiseWithResolvers<void> = Promise.withResolvers()
  #cancelSoon: (() => void) | undefined

  constructor(read: () => RunnerStatus, clock: Clock, log: Logger) {
    this.#read = read
    this.#clock = clock
    this.#log = log
  }

  /** Something in the status is different now. */
  changed(): void {
    this.#changed.resolve()
  }

  /** Something is different that can wait a moment. */
  changedSoon(): void {
    this.#cancelSoon ??= this.#clock.after(soonMs, () => {
      this.#cancelSoon = undefined
      this.changed()
    })
  }

  /** Reports over whatever socket is open until the signal says that it is over. Never rejects. */
  async report(lines: Lines, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const line = await lines.line(signal).catch(() => undefined)
      if (!line) break
      this.#changed = Promise.withResolvers()
      const told = await this.#tell(line, signal)
      // Over a socket that broke nothing was told: the next one is tried at once.
      if (told || !line.over.aborted) await this.#pause(told ? everyMs : retryMs, told, signal)
    }
    this.#cancelSoon?.()
    this.#cancelSoon = undefined
  }

  async #tell({ muxer, generation, over }: Line, signal: AbortSignal): Promise<boolean> {
    try {
      using limit = deadline(answerLimitMs, 'report to the edge', signal, over)
      const { head, body } = statusCall(this.#read(), generation)
      await call(muxer, head, acknowledged, { signal: limit, body })
      return true
    } catch (error) {
      if (!signal.aborted && !over.aborted) this.#log.warn({ error: AppError.from(error) }, 'tunnel.status')
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
