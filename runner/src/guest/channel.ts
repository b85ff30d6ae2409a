/**
 * A session with a guest's agent on one opening of its port, and after a suspension on another.
 *
 *   opening (opening.ts) ─▶ open ──suspend()──▶ suspended, without a link ──resume() on another link──▶ open
 *                            └─▶ closed ◀────────────┘
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
  type Carrier,
  defaultWindow,
  generation,
  type Hello,
  Muxer,
  pingIdleMs,
  pingLimitMs,
} from '@portico/shared/tunnel'
import { connectPort } from '../port/connect.ts'
import { exchange, type GuestRequest, type GuestResponse } from './http.ts'
import { lost, type Opened, type Opening, open } from './opening.ts'

export interface ChannelOptions {
  /** Limits the opening: boot, preamble and HELLO together. */
  readonly signal: AbortSignal
  /**
   * The machine has run a session before: an agent that missed its end is made to start a new one, when it has told nothing for a moment, or `now`: for a
   * machine that was restored with its channel open, and so always stands in the middle of a session.
   */
  readonly again: Opening['again']
  readonly clock?: Clock
  /** Ends the channel when the guest is silent for too long; on unless said otherwise. */
  readonly keepalive?: boolean
}

export class GuestChannel {
  /** Resolves when the session is over: with the error, or undefined after `close()`. A suspended one is not. */
  readonly closed: Promise<AppError | undefined>
  readonly #muxer: Muxer
  #link: Duplex
  #token: string | undefined
  /** Whether what ends a stream now is the guest's doing: the multiplexer closes its carrier before it ends the streams. */
  readonly #connected = () => !this.#link.destroyed && this.#muxer.paused === undefined

  private constructor(muxer: Muxer, link: Duplex) {
    this.#muxer = muxer
    this.#link = link
    this.closed = muxer.closed
  }

  /** Takes the link over; resolves when both sides have said HELLO. Closes the link if that fails. */
  static async open(link: Duplex, options: ChannelOptions): Promise<GuestChannel> {
    const { signal, again, clock = systemClock } = options
    return await taking(link, async () => {
      const { hello, rest } = await open(link, { again, signal, clock, answer: () => ownHello })
      return await GuestChannel.#start(link, { hello, rest }, options)
    })
  }

  /**
   * Takes another link over, after `suspend`. Where the agent still holds the session, this channel goes on and is the answer; where it does not, the
   * answer is a new channel, and this one is closed. When it rejects, the link is closed and this one suspended as before, or closed.
   */
  async resume(link: Duplex, options: StartOptions): Promise<GuestChannel> {
    const { signal, clock = systemClock } = options
    return await taking(link, async () => {
      const resumes = (hello: Hello) => this.#muxer.paused !== undefined && hello.paused === this.#muxer.paused
      const answer = (hello: Hello) =>
        hello.paused && resumes(hello) ? { ...ownHello, resume: hello.paused } : ownHello
      const { hello, rest } = await open(link, { again: 'now', signal, clock, answer })
      if (!resumes(hello)) {
        this.close(lost('it has lost the session'))
        return await GuestChannel.#start(link, { hello, rest }, options)
      }
      this.#link = link
      this.#muxer.resume(carrierOf(link))
      this.#muxer.keepAlive(options.keepalive ?? true)
      this.#read(rest)
      return this
    })
  }

  /**
   * Ends the link in order, with the requests under way kept on both sides. An agent that does not stop before the signal aborts, or a channel that is over,
   * is no fault: then the channel is closed, and what was under way has failed. Tells which it was.
   */
  async suspend(signal: AbortSignal): Promise<'suspended' | 'closed'> {
    try {
      await abortable(this.#muxer.pause(), signal)
      this.#link.destroy()
      return 'suspended'
    } catch {
      this.close(lost('it did not stop its session in time'))
      return 'closed'
    }
  }

  /** From now on every request carries this token. */
  authorize(token: string): void {
    this.#token = token
  }

  /** Watches again whether the guest answers. */
  startKeepalive(): void {
    this.#muxer.keepAlive(true)
  }

  /** Lets the guest be silent: its machine is going to stand still. */
  stopKeepalive(): void {
    this.#muxer.keepAlive(false)
  }

  /** One request to the agent. */
  async request(asked: GuestRequest): Promise<GuestResponse> {
    asked.signal.throwIfAborted()
    return await exchange(this.#muxer.open(), asked, { token: this.#token, connected: this.#connected })
  }

  /** A connection to a server in the guest. */
  async connect(port: number, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted()
    const target = { port, signal, token: this.#token, connected: this.#connected }
    return await connectPort(this.#muxer.open(), target)
  }

  /** How many requests are under way. */
  get open(): number {
    return this.#muxer.openStreams
  }

  /** Ends the session; requests under way fail with `error`. Repeating it does nothing. */
  close(error?: AppError): void {
    this.#muxer.close(error)
  }

  static async #start(link: Duplex, { hello, rest }: Opened, options: StartOptions): Promise<GuestChannel> {
    const { signal, clock = systemClock, keepalive = true } = options
    const muxer = new Muxer({
      carrier: carrierOf(link),
      opens: 'odd',
      hello: ownHello,
      greeted: hello,
      disconnected: 'guest_disconnected',
      keepalive: { idleMs: pingIdleMs, limitMs: pingLimitMs, clock },
    })
    muxer.keepAlive(keepalive)
    const channel = new GuestChannel(muxer, link)
    channel.#read(rest)
    await abortable(muxer.ready, signal)
    return channel
  }

  /** Takes what comes on the link, until another link is in its place. */
  #read(rest: Uint8Array): void {
    const link = this.#link
    link.on('data', (bytes: Uint8Array) => (link === this.#link ? this.#muxer.receive(bytes) : undefined))
    link.on('close', () => {
      if (link === this.#link && this.#muxer.paused === undefined) this.close(lost('its port closed'))
    })
    if (rest.length > 0) this.#muxer.receive(rest)
    link.resume()
  }
}

type StartOptions = Omit<ChannelOptions, 'again'>

const ownHello: Hello = { generation, role: 'runner', window: defaultWindow }

/** Runs what begins a session on the link, and closes the link if that fails. */
async function taking(link: Duplex, begin: () => Promise<GuestChannel>): Promise<GuestChannel> {
  link.once('end', () => link.destroy())
  try {
    return await begin()
  } catch (error) {
    link.destroy()
    throw AppError.from(error)
  }
}

function carrierOf(link: Duplex): Carrier {
  return {
    send: (bytes) => void link.write(bytes),
    full: () => (link.writableNeedDrain ? once(link, 'drain').then(() => undefined) : undefined),
    close: () => void link.destroy(),
  }
}
