import { AppError } from '@portico/shared/errors'
import { howItEnded, pingIdleMs, pingLimitMs } from '@portico/shared/tunnel'
import type { Connection } from './connecting.ts'
import { hangUp } from './hang-up.ts'
import type { TunnelContext, TunnelState } from './state.ts'

/** How long open calls may take after the edge's GOAWAY: as long as the longest of them. */
const leaveLimitMs = 60_000

/**
 * The tunnel stands. After 15 s without anything from the edge the text `ping` is sent, which the edge's platform answers with `pong` even while the
 * object behind it sleeps; after 10 s more without anything the connection counts as lost. When the edge says GOAWAY nothing new is begun, and when
 * what is open has finished, or its time is over, the connection ends. `onEnd` is called once, unless the state is left before.
 */
export function ready(context: TunnelContext, connection: Connection, onEnd: (error: AppError) => void): TunnelState {
  const { socket, muxer, goneAway } = connection
  let left = false
  let leaving = false
  let cancelLeaving: () => void = () => undefined
  const stopWatching = watch(context, connection)
  const onClose = (code: number) => {
    const fault = howItEnded({ code }) === 'fault'
    muxer.close(lost(fault ? `the edge reported a fault (${code})` : 'the connection closed'))
  }
  socket.on('close', onClose)
  socket.on('error', (cause) => muxer.close(lost('the connection failed', cause)))
  void goneAway.then(() => {
    if (left) return
    leaving = true
    const end = () => muxer.close(lost('the edge takes no more calls on it'))
    cancelLeaving = context.clock.after(leaveLimitMs, end)
    void muxer.drained().then(end)
  })
  void muxer.closed.then((error) => {
    if (left) return
    void hangUp(socket, context.clock)
    onEnd(error ?? lost('the connection closed'))
  })
  return {
    name: 'ready',
    muxer,
    get takesCalls() {
      return !leaving
    },
    exit: () => {
      left = true
      cancelLeaving()
      stopWatching()
    },
  }
}

/** Keeps the connection alive, or ends it; the answer stops that. */
function watch(context: TunnelContext, { socket, muxer }: Connection): () => void {
  const { clock } = context
  let cancel: () => void = () => undefined
  const heard = () => {
    cancel()
    cancel = clock.after(pingIdleMs, () => {
      socket.send('ping', () => undefined)
      cancel = clock.after(pingLimitMs, () => {
        muxer.close(lost(`nothing came for ${pingIdleMs + pingLimitMs} ms`))
      })
    })
  }
  socket.on('message', heard)
  heard()
  return () => {
    cancel()
    socket.off('message', heard)
  }
}

function lost(why: string, cause?: unknown): AppError {
  return new AppError('edge_disconnected', `cannot use the tunnel: ${why}`, { cause })
}
