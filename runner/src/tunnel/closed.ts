import type { TunnelContext, TunnelState } from './state.ts'

/** No connection; tries again after `delayMs`. `connect` makes the next state. */
export function closed(context: TunnelContext, delayMs: number, connect: () => TunnelState): TunnelState {
  const cancel = context.clock.after(delayMs, () => context.setState(connect()))
  return { name: 'closed', exit: cancel }
}

/** No connection, for good. */
export function ended(): TunnelState {
  return { name: 'ended', exit: () => undefined }
}
