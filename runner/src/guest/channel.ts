/**
 * A session with a guest's agent on one opening of its port.
 *
 *   opening: discard until the preamble ─▶ echo its random bytes, HELLO ─▶ their HELLO ─▶ open ─▶ closed
 *
 * It owns the link's socket: its end closes the session, and the end of the session closes it. All bytes from the guest are hostile: they go to
 * the frame decoder and to the HTTP parser, which have limits, and nowhere else.
 */

import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '@portico/shared/clock'
import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import {
  defaultWindow,
  flushBytes,
  generation,
  Muxer,
  PreambleFinder,
  pingIdleMs,
  pingLimitMs,
  preambleWaitMs,
} from '@portico/shared/tunnel'
import { exchange, type GuestRequest, type GuestResponse } from './http.ts'

export interface ChannelOptions {
  /** Limits the opening: boot, preamble and HELLO together. */
  readonly signal: AbortSignal
  /** The machine has run a session before: an agent that missed its end is made to start a new one. */
  readonly again: boolean
  readonly clock?: Clock
}

export class GuestChannel {
  /** Resolves when the session is over: with the error, or undefined after `close()`. */
  readonly closed: Promise<AppError | undefined>
  readonly #muxer: Muxer
  readonly #link: Duplex

  private constructor(muxer: Muxer, link: Duplex) {
    this.#muxer = muxer
    this.#link = link
    this.closed = muxer.closed
  }

  /** Takes the link over; resolves when both sides have said HELLO. Closes the link if that fails. */
  static async open(link: Duplex, options: ChannelOptions): Promise<GuestChannel> {
    const clock = options.clock ?? systemClock
    link.once('end', () => link.destroy())
    try {
      const { nonce, rest } = await findPreamble(link, options, clock)
      const muxer = startSession(link, nonce, rest, clock)
      await abortable(muxer.ready, options.signal)
      return new GuestChannel(muxer, link)
    } catch (error) {
      link.destroy()
      throw AppError.from(error)
    }
  }

  /** One request to the agent. */
  async request(asked: GuestRequest): Promise<GuestResponse> {
    asked.signal.throwIfAborted()
    // The multiplexer closes its carrier before it ends the streams.
    return await exchange(this.#muxer.open(), asked, () => !this.#link.destroyed)
  }

  /** How many requests are under way. */
  get open(): number {
    return this.#muxer.openStreams
  }

  /** Ends the session; requests under way fail with `error`. Repeating it does nothing. */
  close(error?: AppError): void {
    this.#muxer.close(error)
  }
}

function startSession(link: Duplex, nonce: Uint8Array, rest: Uint8Array, clock: Clock): Muxer {
  link.write(nonce)
  const muxer = new Muxer({
    carrier: {
      send: (bytes) => void link.write(bytes),
      full: () => (link.writableNeedDrain ? once(link, 'drain').then(() => undefined) : undefined),
      close: () => void link.destroy(),
    },
    opens: 'odd',
    hello: { generation, role: 'runner', window: defaultWindow },
    disconnected: 'guest_disconnected',
    keepalive: { idleMs: pingIdleMs, limitMs: pingLimitMs, clock },
  })
  link.on('data', (bytes: Uint8Array) => muxer.receive(bytes))
  link.on('close', () => muxer.close(lost('its port closed')))
  if (rest.length > 0) muxer.receive(rest)
  link.resume()
  return muxer
}

type Found = NonNullable<ReturnType<PreambleFinder['push']>>

/** Reads until the agent's preamble has come; leaves the link paused. */
function findPreamble(link: Duplex, { again, signal }: ChannelOptions, clock: Clock): Promise<Found> {
  const finder = new PreambleFinder()
  return new Promise((resolve, reject) => {
    const cancelFlush = again ? clock.after(preambleWaitMs, () => void link.write(flushBytes())) : () => undefined
    const settle = (act: () => void) => {
      cancelFlush()
      link.off('data', onData)
      link.off('close', onClose)
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onData = (bytes: Uint8Array) => {
      try {
        const found = finder.push(bytes)
        if (!found) return
        link.pause()
        settle(() => resolve(found))
      } catch (error) {
        settle(() => reject(error))
      }
    }
    const onClose = () => settle(() => reject(lost('its port closed')))
    const onAbort = () => settle(() => reject(signal.reason))
    if (signal.aborted) return onAbort()
    link.on('error', () => undefined)
    link.on('data', onData)
    link.once('close', onClose)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

function lost(why: string): AppError {
  return new AppError('guest_disconnected', `cannot reach the sandbox's agent: ${why}`)
}
