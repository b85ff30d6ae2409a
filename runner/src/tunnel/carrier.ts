/** A WebSocket as what the multiplexer sends frames on. It owns nothing: closing tells the socket, whose owner sees it end. */

import { type Carrier, closeFrame } from '@portico/shared/tunnel'
import { WebSocket } from 'ws'

/** Bytes that may wait in the socket before frames wait instead. */
const maxBuffered = 1024 * 1024

export function webSocketCarrier(socket: WebSocket): Carrier {
  let waiting: PromiseWithResolvers<void> | undefined
  const onSent = () => {
    if (socket.bufferedAmount > maxBuffered) return
    waiting?.resolve()
    waiting = undefined
  }
  return {
    send: (bytes, done) => {
      if (socket.readyState !== WebSocket.OPEN) throw new Error('the socket is not open')
      socket.send(bytes, (error) => {
        if (!error) done()
        onSent()
      })
    },
    full: () => {
      if (socket.bufferedAmount <= maxBuffered) return undefined
      waiting ??= Promise.withResolvers()
      return waiting.promise
    },
    close: (error) => {
      const { code, reason } = closeFrame(error)
      socket.close(code, reason)
    },
  }
}
