/**
 * The way to a running guest: a channel that is opened again when it breaks.
 *
 *   open ──channel ends──▶ reopening ──▶ open
 *     │                        └── not within the limit ──▶ lost (told once)
 *     └───────── close() ─────────▶ closed
 *
 * Requests wait while it is being opened again. It owns the channel, not the machine.
 */

import type { Duplex } from 'node:stream'
import { Backoff } from '@portico/shared/backoff'
import { type Clock, sleep } from '@portico/shared/clock'
import { abortable, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { GuestChannel } from './channel.ts'
import type { GuestRequest, GuestResponse } from './http.ts'
import { reopenLimitMs } from './limits.ts'

export interface LinkOptions {
  readonly connect: (signal: AbortSignal) => Promise<Duplex>
  readonly first: GuestChannel
  readonly clock: Clock
  /** The agent cannot be reached any more, though its machine runs. */
  readonly onLost: (error: AppError) => void
}

/** Tries to open a channel again before the guest counts as lost: some 25 s. */
const maxTries = 8
/** A channel that held for so long was a good one. */
const goodAfterMs = 5000

export class GuestLink {
  readonly #options: LinkOptions
  readonly #ended = new AbortController()
  readonly #backoff = new Backoff({ firstMs: 50, maxMs: 2000 })
  #channel: Promise<GuestChannel>
  #current: GuestChannel | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#current = options.first
    this.#channel = Promise.resolve(options.first)
    void this.#keepOpen(options.first)
  }

  async request(asked: GuestRequest): Promise<GuestResponse> {
    if (this.#current) return await this.#current.request(asked)
    const signal = AbortSignal.any([asked.signal, this.#ended.signal])
    const channel = await abortable(this.#channel, deadline(reopenLimitMs, "reach the sandbox's agent", signal))
    return await channel.request(asked)
  }

  /** Ends it; requests under way fail with `error`. */
  close(error: AppError): void {
    this.#ended.abort(error)
    this.#current?.close(error)
    this.#current = undefined
  }

  async #keepOpen(first: GuestChannel): Promise<void> {
    const { clock, onLost } = this.#options
    let channel = first
    for (let tries = 0; tries < maxTries; ) {
      const openedAt = clock.now()
      await channel.closed
      this.#current = undefined
      if (this.#ended.signal.aborted) return
      if (clock.now() - openedAt >= goodAfterMs) {
        tries = 0
        this.#backoff.reset()
      }
      const { promise, resolve, reject } = Promise.withResolvers<GuestChannel>()
      promise.catch(() => undefined)
      this.#channel = promise
      const next = await this.#reopen(maxTries - tries)
      tries += next.tries
      if (!next.channel) {
        const error = lost()
        reject(error)
        return this.#ended.signal.aborted ? undefined : onLost(error)
      }
      channel = next.channel
      this.#current = channel
      resolve(channel)
    }
    this.#current?.close(lost())
    onLost(lost())
  }

  async #reopen(limit: number): Promise<{ channel?: GuestChannel; tries: number }> {
    const { connect, clock } = this.#options
    for (let tries = 1; tries <= limit; tries++) {
      try {
        await sleep(this.#backoff.next(), this.#ended.signal, clock)
        const signal = deadline(reopenLimitMs, "reach the sandbox's agent", this.#ended.signal)
        const channel = await GuestChannel.open(await connect(signal), { signal, again: true, clock })
        return { channel, tries }
      } catch {
        if (this.#ended.signal.aborted) return { tries }
      }
    }
    return { tries: limit }
  }
}

function lost(): AppError {
  return new AppError('guest_disconnected', "cannot reach the sandbox's agent: it does not answer any more")
}
