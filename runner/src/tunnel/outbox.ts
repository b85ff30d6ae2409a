/**
 * What the edge has to be told of sandboxes that changed by themselves. An event stays until the edge has acknowledged it, through any number of
 * sockets; a later event of the same sandbox takes the place of an earlier one. One call is under way at a time, whatever the sockets, so that events of
 * a sandbox arrive in their order.
 */

import { Backoff } from '@portico/shared/backoff'
import { type Clock, sleep } from '@portico/shared/clock'
import { acknowledged, type SandboxEventMessage } from '@portico/shared/control'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { call } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'
import type { Line, Lines } from './tunnel.ts'

const answerLimitMs = 10_000

export class EventOutbox {
  readonly #clock: Clock
  readonly #log: Logger
  readonly #sequence: () => number
  readonly #events = new Map<string, SandboxEventMessage>()
  #wake: PromiseWithResolvers<void> = Promise.withResolvers()
  #empty: PromiseWithResolvers<void> | undefined

  /** `sequence` rises with whatever is told. */
  constructor(clock: Clock, log: Logger, sequence: () => number) {
    this.#clock = clock
    this.#log = log
    this.#sequence = sequence
  }

  add(event: SandboxEventMessage): void {
    this.#events.set(event.sandbox, { ...event, sequence: this.#sequence() })
    this.#wake.resolve()
  }

  get size(): number {
    return this.#events.size
  }

  /** Resolves once everything is acknowledged. */
  emptied(): Promise<void> {
    if (this.#events.size === 0) return Promise.resolve()
    this.#empty ??= Promise.withResolvers()
    return this.#empty.promise
  }

  /** Delivers over whatever socket is open until the signal says that it is over. Never rejects. */
  async deliver(lines: Lines, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff({ firstMs: 100, maxMs: 5000 })
    const over = Promise.withResolvers<void>()
    signal.addEventListener('abort', () => over.resolve(), { once: true })
    while (!signal.aborted) {
      const [next] = this.#events.values()
      if (!next) {
        this.#wake = Promise.withResolvers()
        await Promise.race([this.#wake.promise, over.promise])
        continue
      }
      const line = await lines.line(signal).catch(() => undefined)
      // While it waited for a socket a later event may have come.
      if (!line || this.#events.get(next.sandbox) !== next) continue
      if (await this.#tell(line, next, signal)) backoff.reset()
      else if (!line.over.aborted) await sleep(backoff.next(), signal, this.#clock).catch(() => undefined)
    }
  }

  /** Whether the edge needs to be told no more of this event. */
  async #tell({ muxer, over }: Line, event: SandboxEventMessage, signal: AbortSignal): Promise<boolean> {
    try {
      using limit = deadline(answerLimitMs, 'tell the edge of an event', signal, over)
      await call(muxer, event, acknowledged, { signal: limit })
    } catch (thrown) {
      const error = AppError.from(thrown)
      if (!forgotten(error)) {
        if (!signal.aborted && !over.aborted) this.#log.warn({ sandbox: event.sandbox, error }, 'tunnel.event')
        return false
      }
    }
    if (this.#events.get(event.sandbox) === event) this.#events.delete(event.sandbox)
    if (this.#events.size === 0) {
      this.#empty?.resolve()
      this.#empty = undefined
    }
    return true
  }
}

/** The edge no longer knows the sandbox, or knows a later generation of it: nobody waits for this event. */
function forgotten(error: AppError): boolean {
  return error.code === 'sandbox_not_found' || error.code === 'moved' || error.code === 'not_found'
}
