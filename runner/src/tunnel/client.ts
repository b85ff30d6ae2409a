/**
 * One socket of the runner's tunnel to the edge: a WebSocket that the runner opens and opens again whenever it is lost. Sandboxes do not depend on it.
 *
 *   closed ──delay──▶ connecting ──both HELLOs──▶ ready ──stop()──▶ draining ──▶ ended
 *     ▲                    │                        │
 *     └──── failed ────────┴──────── lost ──────────┘          any ──stop()──▶ ended
 *
 * The delay grows from 100 ms to 1.5 s with jitter, and is long after the edge has refused the runner's token. Each state is an object of its own
 * file; `#setState` is the only way from one to the next.
 */

import { Backoff } from '@portico/shared/backoff'
import type { Clock } from '@portico/shared/clock'
import type { AppError } from '@portico/shared/errors'
import type { Hello, Muxer, TunnelStream } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'
import { closed, ended } from './closed.ts'
import { type Connection, connecting, type Failure } from './connecting.ts'
import { draining } from './draining.ts'
import { ready } from './ready.ts'
import type { TunnelContext, TunnelState } from './state.ts'

export interface TunnelOptions {
  readonly url: string
  readonly token: string
  /** More headers of the upgrade. */
  readonly headers?: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly log: Logger
  /** A number in [0, 1) for the jitter. */
  readonly random?: () => number
  /** The edge made a call. */
  readonly onStream: (stream: TunnelStream, head: Uint8Array) => void
  /** Called with every connection that stands; the signal aborts when it does not any more. */
  readonly onReady: (muxer: Muxer, signal: AbortSignal, peer: Hello) => void
}

const refusedDelayMs = 15_000
/** A connection that was lost sooner than this did not work: the delay goes on growing. */
const goodAfterMs = 1000

export class TunnelClient {
  readonly #options: TunnelOptions
  readonly #context: TunnelContext
  readonly #backoff: Backoff
  readonly #ended = Promise.withResolvers<void>()
  #state: TunnelState
  #connection: Connection | undefined
  #lastProblem = ''

  /** Begins to connect at once. */
  constructor(options: TunnelOptions) {
    this.#options = options
    const { random } = options
    this.#backoff = new Backoff({ firstMs: 100, maxMs: 1500, ...(random ? { random } : {}) })
    this.#context = { ...options, setState: (state) => this.#setState(state) }
    this.#state = this.#connect()
  }

  get state(): TunnelState['name'] {
    return this.#state.name
  }

  /** Whether this side may make calls on it. */
  get takesCalls(): boolean {
    return this.#state.takesCalls === true
  }

  /** The connection's multiplexer, while calls are on it. */
  get muxer(): Muxer | undefined {
    return this.#state.muxer
  }

  /** Ends the tunnel: open calls may finish within `limitMs`. Resolves when the socket is gone. */
  stop(limitMs: number): Promise<void> {
    const connection = this.#connection
    if (this.#state.name === 'ready' && connection)
      this.#setState(draining(this.#context, connection, limitMs, () => this.#end()))
    else if (this.#state.name !== 'draining') this.#end()
    return this.#ended.promise
  }

  #setState(state: TunnelState): void {
    const before = this.#state
    this.#state = state
    before.exit()
    this.#options.log.debug({ from: before.name, to: state.name }, 'tunnel.state')
  }

  #connect(): TunnelState {
    return connecting(this.#context, {
      onOpen: (connection) => this.#onOpen(connection),
      onFailure: (failure) => this.#onFailure(failure),
    })
  }

  #onOpen(connection: Connection): void {
    const { clock, log, onReady } = this.#options
    const openedAt = clock.now()
    const over = new AbortController()
    this.#connection = connection
    void connection.muxer.closed.then((error) => over.abort(error))
    this.#setState(
      ready(this.#context, connection, (error) => {
        if (clock.now() - openedAt >= goodAfterMs) this.#backoff.reset()
        log.warn({ error, ms: clock.now() - openedAt }, 'tunnel.lost')
        this.#again(this.#backoff.next())
      }),
    )
    this.#lastProblem = ''
    log.info({ outcome: 'ok' }, 'tunnel.open')
    onReady(connection.muxer, over.signal, connection.peer)
  }

  #onFailure({ error, refused }: Failure): void {
    this.#report(error, refused)
    this.#again(refused ? refusedDelayMs : this.#backoff.next())
  }

  #again(delayMs: number): void {
    this.#connection = undefined
    this.#setState(closed(this.#context, delayMs, () => this.#connect()))
  }

  /** Says each problem once, not at every try. */
  #report(error: AppError, refused: boolean): void {
    if (error.message === this.#lastProblem) return
    this.#lastProblem = error.message
    if (refused) this.#options.log.error({ error, hint: 'enrol the runner again and set its token' }, 'tunnel.refused')
    else this.#options.log.warn({ error }, 'tunnel.connect')
  }

  #end(): void {
    this.#setState(ended())
    this.#ended.resolve()
  }
}
