import type { Muxer } from '@portico/shared/tunnel'
import type { Connection } from './connecting.ts'
import { hangUp } from './hang-up.ts'
import type { TunnelContext, TunnelState } from './state.ts'

/** GOAWAY is sent: no new calls; those that are open may finish within `limitMs`. Then the connection is closed and `onEnd` called. */
export function draining(
  context: TunnelContext,
  { socket, muxer }: Connection,
  limitMs: number,
  onEnd: () => void,
): TunnelState {
  muxer.goAway({ code: 'no_runner', message: 'cannot open a stream: the runner is being stopped' })
  const late = Promise.withResolvers<void>()
  const cancel = context.clock.after(limitMs, late.resolve)
  void closeAfter(muxer, late.promise)
    .then(() => hangUp(socket, context.clock))
    .then(onEnd)
  return { name: 'draining', muxer, exit: cancel }
}

async function closeAfter(muxer: Muxer, late: Promise<void>): Promise<void> {
  await Promise.race([muxer.drained(), late])
  muxer.close()
}
