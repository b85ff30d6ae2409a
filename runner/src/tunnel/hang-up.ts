import type { Clock } from '@portico/shared/clock'
import { WebSocket } from 'ws'

/** How long the edge may take to answer a close frame. */
const closeLimitMs = 1000

/** Resolves when a socket that is being closed is gone; ends it by force if the other side does not answer. */
export function hangUp(socket: WebSocket, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState === WebSocket.CLOSED) return resolve()
    const cancel = clock.after(closeLimitMs, () => socket.terminate())
    socket.once('close', () => {
      cancel()
      resolve()
    })
    socket.close()
  })
}
