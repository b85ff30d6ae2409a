import { AppError } from '@portico/shared/errors'
import { defaultWindow, type Hello, Muxer, maxMessage, tunnelGeneration } from '@portico/shared/tunnel'
import { type RawData, WebSocket } from 'ws'
import { webSocketCarrier } from './carrier.ts'
import type { TunnelContext, TunnelState } from './state.ts'

const handshakeLimitMs = 10_000

/** What stands once both sides have said HELLO. */
export interface Connection {
  readonly socket: WebSocket
  readonly muxer: Muxer
  /** What the edge said of itself. */
  readonly peer: Hello
  /** Resolves when the edge takes no new calls on it. */
  readonly goneAway: Promise<void>
}

/** Why a try failed, and whether coming back soon makes sense. */
export interface Failure {
  readonly error: AppError
  /** The edge does not know this runner's token: an operator has to act. */
  readonly refused: boolean
}

/** A socket is being opened; ends in `onOpen` or `onFailure`, once, unless it is left before. */
export function connecting(
  context: TunnelContext,
  next: { onOpen: (connection: Connection) => void; onFailure: (failure: Failure) => void },
): TunnelState {
  const socket = new WebSocket(context.url, {
    headers: { ...context.headers, authorization: `Bearer ${context.token}` },
    maxPayload: maxMessage,
    perMessageDeflate: false,
    handshakeTimeout: handshakeLimitMs,
    ...(isPrivate(context.url) ? { generateMask: noMask } : {}),
  })
  let over = false
  const once = (act: () => void) => {
    if (over) return
    over = true
    act()
  }
  const fail = (error: AppError, refused = false) =>
    once(() => {
      socket.terminate()
      next.onFailure({ error, refused })
    })
  socket.on('unexpected-response', (_request, response) => {
    const { statusCode = 0 } = response
    response.resume()
    const refused = statusCode === 401 || statusCode === 403
    fail(
      cannotConnect(refused ? `the edge refused its token (${statusCode})` : `the edge answered ${statusCode}`),
      refused,
    )
  })
  socket.on('error', (cause) => fail(cannotConnect(reasonOf(cause), cause)))
  socket.once('close', () => fail(cannotConnect('the edge closed the connection')))
  socket.once('open', () => {
    const goneAway = Promise.withResolvers<void>()
    const muxer = startSession(socket, context, goneAway.resolve)
    muxer.ready.then(
      (peer) => once(() => next.onOpen({ socket, muxer, peer, goneAway: goneAway.promise })),
      (error: unknown) => fail(AppError.from(error)),
    )
  })
  return {
    name: 'connecting',
    exit: () => once(() => socket.terminate()),
  }
}

function startSession(socket: WebSocket, context: TunnelContext, onGoAway: () => void): Muxer {
  const muxer = new Muxer({
    carrier: webSocketCarrier(socket),
    opens: 'even',
    hello: { generation: tunnelGeneration, role: 'runner', window: defaultWindow },
    disconnected: 'edge_disconnected',
    messages: true,
    clock: context.clock,
    onStream: context.onStream,
    onGoAway,
    // The head, body and end of a short answer come in turns that follow at once on each other, and each message wakes an object of the edge.
    soon: setImmediate,
  })
  socket.on('message', (data: RawData, isBinary: boolean) => {
    if (isBinary) muxer.receive(asBytes(data))
  })
  return muxer
}

/** With the library's default settings a message is one buffer. */
function asBytes(data: RawData): Uint8Array {
  if (data instanceof Buffer) return data
  return Array.isArray(data) ? Buffer.concat(data) : new Uint8Array(data)
}

function reasonOf(cause: NodeJS.ErrnoException): string {
  switch (cause.code) {
    case 'ECONNREFUSED':
      return 'nothing listens at the edge'
    case 'ENOTFOUND':
      return "the edge's name is unknown"
    default:
      return 'the connection failed'
  }
}

function cannotConnect(why: string, cause?: unknown): AppError {
  return new AppError('edge_disconnected', `cannot connect to the edge: ${why}`, { cause })
}

/**
 * Masks keep what is sent from being read as something else by whatever stands between. Nothing does behind TLS or on this host, and a mask of zeros, which
 * changes no byte, spares both ends a pass over all of them.
 */
function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'wss:' || hostname === 'localhost' || hostname === '[::1]' || /^127\./.test(hostname)
}

function noMask(mask: Buffer): void {
  mask.fill(0)
}
