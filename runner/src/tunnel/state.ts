/** What the states of the tunnel client share. Each state is an object made by one function; `setState` is the only way from one to the next. */

import type { Clock } from '@portico/shared/clock'
import type { Muxer, TunnelStream } from '@portico/shared/tunnel'
import type { Logger } from '../log.ts'

export interface TunnelState {
  readonly name: 'closed' | 'connecting' | 'ready' | 'draining' | 'ended'
  /** The connection that calls are on, where there is one. */
  readonly muxer?: Muxer
  /** Whether this side may make new calls. */
  readonly takesCalls?: boolean
  /** Called by `setState` when the state is left: takes back its timers and listeners, and closes what the next state did not take over. */
  exit(): void
}

export interface TunnelContext {
  readonly url: string
  readonly token: string
  /** More headers of the upgrade. */
  readonly headers?: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly log: Logger
  /** A call of the edge. */
  readonly onStream: (stream: TunnelStream, head: Uint8Array) => void
  setState(state: TunnelState): void
}
