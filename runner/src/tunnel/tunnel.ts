/**
 * All that this runner has between itself and the edge: one session of several sockets, each of which is lost and opened again by itself. A call of the
 * edge comes on any of them; what the runner tells goes over any that is open. It owns the sockets.
 *
 *   one socket ──an edge of generation 2 or later──▶ all ──an edge of generation 1──▶ one
 *
 * An edge of generation 1 takes each socket for a session that replaces the former, so it is given one alone.
 */

import type { Muxer } from '@portico/shared/tunnel'
import { type TunnelOptions as SocketOptions, TunnelClient } from './client.ts'

export interface TunnelOptions extends Omit<SocketOptions, 'headers' | 'onReady'> {
  /** 26 characters of base32, new for each process. */
  readonly session: string
  /** How many sockets there are once the edge is known to take them. */
  readonly sockets: number
  /** Another socket is open. */
  readonly onOpen: () => void
}

/** A socket that is open. */
export interface Line {
  readonly muxer: Muxer
  /** What the edge speaks on it. */
  readonly generation: number
  /** Aborts when it is open no more. */
  readonly over: AbortSignal
}

/** Where somebody who has something to tell finds a socket. */
export interface Lines {
  /** Waits for an open socket; the one with the fewest open streams. Rejects with the signal's reason. */
  line(signal: AbortSignal): Promise<Line>
}

/** The first generation whose edge takes several sockets for one session. */
const severalSince = 2

export class Tunnel implements Lines {
  readonly #options: TunnelOptions
  readonly #clients = new Map<number, TunnelClient>()
  /** Clients that are ending. */
  readonly #ending = new Set<Promise<void>>()
  readonly #lines = new Map<TunnelClient, Line>()
  #opened = Promise.withResolvers<void>()
  #stopped: Promise<void> | undefined

  /** Begins to connect at once. */
  constructor(options: TunnelOptions) {
    this.#options = options
    this.#dial(0)
  }

  /** Whether at least one socket is open. */
  get connected(): boolean {
    return this.#open.length > 0
  }

  /** How many sockets are open. */
  get sockets(): number {
    return this.#open.length
  }

  async line(signal: AbortSignal): Promise<Line> {
    for (;;) {
      signal.throwIfAborted()
      const [first, ...others] = this.#open
      if (first)
        return others.reduce((best, line) => (line.muxer.openStreams < best.muxer.openStreams ? line : best), first)
      await settledOrAborted(this.#opened.promise, signal)
    }
  }

  /** Resolves when no call is open on any socket. */
  async drained(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.muxer?.drained()))
  }

  /** Ends all sockets: open calls may finish within `limitMs`. Resolves when they are gone. */
  stop(limitMs: number): Promise<void> {
    this.#stopped ??= Promise.resolve().then(async () => {
      for (const index of [...this.#clients.keys()]) this.#hangUp(index, limitMs)
      await Promise.all(this.#ending)
    })
    return this.#stopped
  }

  /** Those that take calls. */
  get #open(): Line[] {
    return [...this.#lines].flatMap(([client, line]) => (client.takesCalls && !line.over.aborted ? [line] : []))
  }

  #dial(index: number): void {
    const { session, sockets, onOpen: _told, ...options } = this.#options
    const client: TunnelClient = new TunnelClient({
      ...options,
      headers: { 'portico-session': session, 'portico-socket': `${index}/${sockets}` },
      onReady: (muxer, over, { generation }) => this.#onReady(index, client, { muxer, generation, over }),
    })
    this.#clients.set(index, client)
  }

  #onReady(index: number, client: TunnelClient, line: Line): void {
    if (this.#stopped || this.#clients.get(index) !== client) return
    this.#lines.set(client, line)
    const several = line.generation >= severalSince
    for (const other of several ? [] : [...this.#clients.keys()]) if (other !== index) this.#hangUp(other, 0)
    for (let other = 0; several && other < this.#options.sockets; other++)
      if (!this.#clients.has(other)) this.#dial(other)
    this.#opened.resolve()
    this.#opened = Promise.withResolvers()
    this.#options.onOpen()
  }

  #hangUp(index: number, limitMs: number): void {
    const client = this.#clients.get(index)
    if (!client) return
    this.#clients.delete(index)
    const ended = client.stop(limitMs).then(() => {
      this.#lines.delete(client)
      this.#ending.delete(ended)
    })
    this.#ending.add(ended)
  }
}

async function settledOrAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>()
  const onAbort = () => aborted.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await Promise.race([promise, aborted.promise])
  signal.removeEventListener('abort', onAbort)
}
