/**
 * The way to a running guest: a channel that is opened again when it breaks.
 *
 *   open ──channel ends──▶ reopening ──▶ open
 *     │ ▲                      └── not within the limit ──▶ lost (told once)
 *     │ └─resume()─ suspended ◀──suspend()── open, reopening
 *     └───────── close() ─────────▶ closed
 *
 * Requests wait while it is being opened again or suspended. It owns the channel, not the machine.
 */

import type { Duplex } from 'node:stream'
import { Backoff } from '@portico/shared/backoff'
import { type Clock, sleep } from '@portico/shared/clock'
import { abortable, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { GuestChannel } from './channel.ts'
import type { GuestRequest, GuestResponse } from './http.ts'
import { reopenLimitMs, suspendLimitMs } from './limits.ts'

type Connect = (signal: AbortSignal) => Promise<Duplex>

export interface LinkOptions {
  readonly connect: Connect
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
  #connect: Connect
  /** What requests wait for while there is no channel. */
  #next: PromiseWithResolvers<GuestChannel> = waiting()
  #current: GuestChannel | undefined
  /** Ends the watch over one channel after the other; a new one for each resumption. */
  #watch = new AbortController()
  #watching: Promise<void>
  /** The channel that stands still, if any did when the link was suspended. */
  #held: GuestChannel | undefined
  #suspended = false
  #token: string | undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#connect = options.connect
    this.#use(options.first)
    this.#watching = this.#keepOpen(options.first, this.#watch.signal)
  }

  async request(asked: GuestRequest): Promise<GuestResponse> {
    const channel = this.#current ?? (await this.#reopened(asked.signal))
    return await channel.request(asked)
  }

  /** A connection to a server in the guest. */
  async connect(port: number, signal: AbortSignal): Promise<Duplex> {
    const channel = this.#current ?? (await this.#reopened(signal))
    return await channel.connect(port, signal)
  }

  /** Whether `resume` can let it go on. */
  get suspended(): boolean {
    return this.#suspended && !this.#ended.signal.aborted
  }

  /** From now on every request carries this token. */
  authorize(token: string): void {
    this.#token = token
    this.#current?.authorize(token)
  }

  /** Watches again whether the guest answers. */
  startKeepalive(): void {
    this.#current?.startKeepalive()
  }

  /** Lets the guest be silent: its machine is going to stand still. */
  stopKeepalive(): void {
    this.#current?.stopKeepalive()
  }

  /**
   * Closes the way to the guest in order: requests under way are kept on both sides, and go on after `resume`. Where the agent does not stop in time they
   * fail instead. Resolves in any case, with the port closed; until `resume` the guest cannot be lost. Repeating it does nothing.
   */
  async suspend(signal: AbortSignal): Promise<void> {
    if (this.#suspended || this.#ended.signal.aborted) return
    this.#suspended = true
    this.#watch.abort(lost())
    const channel = this.#current
    if (!channel) return await this.#watching
    this.#current = undefined
    this.#next = waiting()
    using limit = deadline(suspendLimitMs, "stop the session with the sandbox's agent", signal)
    const how = await channel.suspend(limit)
    if (this.#ended.signal.aborted) return channel.close(AppError.from(this.#ended.signal.reason))
    this.#held = how === 'suspended' ? channel : undefined
  }

  /**
   * Opens the way again, to the same guest in the same machine or in another one: `first` is a connection to it, `connect` makes more. What was under way goes
   * on; if the agent does not know of it any more it has failed with `guest_disconnected`. When it rejects, `first` is closed and the link suspended as before.
   */
  async resume(connect: Connect, first: Duplex, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    if (!this.#suspended || this.#ended.signal.aborted) {
      first.destroy()
      throw this.#ended.signal.aborted ? AppError.from(this.#ended.signal.reason) : lost()
    }
    const held = this.#held
    const limit = AbortSignal.any([signal, this.#ended.signal])
    const channel = held
      ? await held.resume(first, { signal: limit, clock })
      : await GuestChannel.open(first, { signal: limit, clock, again: 'now' })
    if (this.#ended.signal.aborted) return channel.close(AppError.from(this.#ended.signal.reason))
    this.#held = undefined
    this.#suspended = false
    this.#connect = connect
    this.#watch = new AbortController()
    this.#backoff.reset()
    this.#use(channel)
    this.#watching = this.#keepOpen(channel, this.#watch.signal)
  }

  /** Ends it; requests under way fail with `error`. */
  close(error: AppError): void {
    this.#ended.abort(error)
    this.#watch.abort(error)
    for (const channel of [this.#current, this.#held]) channel?.close(error)
    this.#current = undefined
    this.#held = undefined
  }

  async #reopened(asked: AbortSignal): Promise<GuestChannel> {
    const signal = AbortSignal.any([asked, this.#ended.signal])
    return await abortable(this.#next.promise, deadline(reopenLimitMs, "reach the sandbox's agent", signal))
  }

  #use(channel: GuestChannel): void {
    if (this.#token !== undefined) channel.authorize(this.#token)
    this.#current = channel
    this.#next.resolve(channel)
  }

  async #keepOpen(first: GuestChannel, watch: AbortSignal): Promise<void> {
    const { clock, onLost } = this.#options
    let channel = first
    for (let tries = 0; tries < maxTries; ) {
      const openedAt = clock.now()
      await abortable(channel.closed, watch).catch(() => undefined)
      if (watch.aborted) return
      this.#current = undefined
      if (clock.now() - openedAt >= goodAfterMs) {
        tries = 0
        this.#backoff.reset()
      }
      this.#next = waiting()
      const next = await this.#reopen(maxTries - tries, watch)
      tries += next.tries
      if (watch.aborted) return next.channel?.close(lost())
      if (!next.channel) {
        this.#next.reject(lost())
        return onLost(lost())
      }
      channel = next.channel
      this.#use(channel)
    }
    this.#current?.close(lost())
    onLost(lost())
  }

  async #reopen(limit: number, watch: AbortSignal): Promise<{ channel?: GuestChannel; tries: number }> {
    const { clock } = this.#options
    for (let tries = 1; tries <= limit; tries++) {
      try {
        await sleep(this.#backoff.next(), watch, clock)
        const signal = deadline(reopenLimitMs, "reach the sandbox's agent", watch)
        const channel = await GuestChannel.open(await this.#connect(signal), { signal, again: true, clock })
        return { channel, tries }
      } catch {
        if (watch.aborted) return { tries }
      }
    }
    return { tries: limit }
  }
}

function waiting(): PromiseWithResolvers<GuestChannel> {
  const next = Promise.withResolvers<GuestChannel>()
  next.promise.catch(() => undefined)
  return next
}

function lost(): AppError {
  return new AppError('guest_disconnected', "cannot reach the sandbox's agent: it does not answer any more")
}
