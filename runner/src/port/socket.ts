/**
 * A WebSocket to a server in a sandbox, for a stream of the tunnel on which messages are framed as `port-messages` says. Pings are answered here. Each
 * direction goes at the pace of its reader: messages that the stream has no credit for hold the WebSocket up, and the other way round.
 *
 *   connected ──101──▶ open ──close from either side──▶ closing ──both──▶ over
 *       │                └── either side breaks ──▶ over
 *       └── any other answer: passed on as the server's own
 */

import type { ClientRequest, IncomingMessage } from 'node:http'
import type { createConnection } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type EdgeCall,
  encodePortMessage,
  maxPortMessage,
  type PortMessage,
  PortMessageDecoder,
  portMessageHead,
} from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { abortError, answer, type TunnelStream } from '@portico/shared/tunnel'
import { WebSocket } from 'ws'
import { passOn } from './answer.ts'
import { refused, serverFault, unusable } from './faults.ts'
import { answerHeaders, handshakeHeaders, socketHead } from './headers.ts'
import { maxAnswerHead } from './http.ts'

export type SocketCall = Extract<EdgeCall, { op: 'port.socket' }>

/** Makes connections: an Engine. */
export interface Connector {
  connect(id: string, generation: number, port: number, options: { readonly signal: AbortSignal }): Promise<Duplex>
}

/** Bytes that may wait in either direction before their sender waits. */
const mostWaiting = 256 * 1024
/** How long the edge may take to end a stream whose WebSocket is closed. */
const closingMs = 5000
const noStatus = 1005
const broken = 1006
const tooLong = 1009

type Handshake =
  | { readonly socket: WebSocket; readonly response: IncomingMessage; readonly protocol: string | null }
  | { readonly socket?: undefined; readonly response: IncomingMessage }

/** Opens the WebSocket, answers the stream and carries messages until both are over; resolves with the server's status. */
export async function portSocket(connector: Connector, stream: TunnelStream, call: SocketCall): Promise<number> {
  const gone = new AbortController()
  const { signal } = gone
  void stream.done.then((error) => error && gone.abort(error))
  const duplex = await connector.connect(call.sandbox, call.generation, call.port, { signal })
  const onAbort = () => void duplex.destroy(abortError(signal))
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    const handshake = await shakeHands(duplex, call)
    const { response } = handshake
    const status = response.statusCode ?? 0
    if (handshake.socket) {
      const headers = answerHeaders(response.rawHeaders, handshakeHeaders)
      const bridge = new Bridge(stream, handshake.socket)
      answer(stream, { status, headers, protocol: handshake.protocol })
      await bridge.over
    } else
      await passOn(response, stream, { status, headers: answerHeaders(response.rawHeaders), protocol: null }, duplex)
    return status
  } catch (error) {
    throw signal.aborted ? abortError(signal) : serverFault(error, duplex)
  } finally {
    signal.removeEventListener('abort', onAbort)
    duplex.destroy()
  }
}

async function shakeHands(duplex: Duplex, call: SocketCall): Promise<Handshake> {
  if (!/^[\x21-\xff]+$/.test(call.path)) throw refused('its path holds characters that HTTP does not')
  let chosen = true
  // The library would write the path anew, and refuse a server that chooses no protocol; both are the server's and its caller's business.
  const finishRequest = (request: ClientRequest) => {
    Object.assign(request, { path: call.path })
    request.prependListener('upgrade', (response) => {
      const [first] = call.protocols
      chosen = response.headers['sec-websocket-protocol'] !== undefined
      if (!chosen && first !== undefined) response.headers['sec-websocket-protocol'] = first
    })
    request.end()
  }
  const options = {
    createConnection: (() => duplex) as unknown as typeof createConnection,
    headers: socketHead(call) as Record<string, string>,
    maxPayload: maxPortMessage,
    maxHeaderSize: maxAnswerHead,
    perMessageDeflate: false,
    finishRequest,
  }
  return await new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://localhost:${call.port}/`, [...call.protocols], options)
    socket.once('unexpected-response', (_request, response) => resolve({ response }))
    socket.once('upgrade', (response) => {
      socket.once('open', () => {
        // Messages wait until the caller was told of the first answer.
        socket.pause()
        resolve({ socket, response, protocol: chosen && socket.protocol ? socket.protocol : null })
      })
    })
    // What the library finds wrong with a handshake has no code.
    socket.on('error', (error) => reject('code' in error ? error : unusable('it is no WebSocket handshake', error)))
    socket.once('close', () => reject(unusable('it gave no answer')))
  })
}

class Bridge {
  /** Resolves when the WebSocket is closed and the stream has ended; never rejects. */
  readonly over: Promise<void>
  readonly #stream: TunnelStream
  readonly #socket: WebSocket
  #waiting = 0
  #tooLong = false

  constructor(stream: TunnelStream, socket: WebSocket) {
    this.#stream = stream
    this.#socket = socket
    const closed = Promise.withResolvers<void>()
    socket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#tooLong ||= error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    })
    socket.once('close', (code, reason) => {
      this.#onClose(code, reason)
      closed.resolve()
    })
    this.over = Promise.all([closed.promise, this.#carry()]).then(() => undefined)
    // After the answer, which is given in this turn.
    queueMicrotask(() => socket.resume())
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    const length = data.length
    this.#waiting += length
    this.#write(portMessageHead(isBinary ? 'binary' : 'text', length))
    if (length === 0) return
    this.#stream.write(data).then(
      () => {
        this.#waiting -= length
        if (this.#waiting < mostWaiting / 2 && this.#socket.isPaused) this.#socket.resume()
      },
      () => this.#socket.terminate(),
    )
    if (this.#waiting >= mostWaiting) this.#socket.pause()
  }

  #onClose(code: number, reason: Buffer): void {
    const told = this.#tooLong ? tooLong : code
    if (told !== broken) this.#write(encodePortMessage({ kind: 'close', code: told, reason: reason.toString('utf8') }))
    this.#stream.end()
    const late = setTimeout(
      () => this.#stream.reset({ code: 'cancelled', message: 'cannot send more: the WebSocket is closed' }),
      closingMs,
    )
    void this.#stream.done.then(() => clearTimeout(late))
  }

  /** What goes wrong with it is told by the stream's reading. */
  #write(bytes: Uint8Array): void {
    this.#stream.write(bytes).catch(() => undefined)
  }

  /** Sends the caller's messages to the server, until the caller's side is over. */
  async #carry(): Promise<void> {
    const decoder = new PortMessageDecoder()
    try {
      for (let bytes = await this.#stream.read(); bytes; bytes = await this.#stream.read())
        for (const message of decoder.push(bytes)) await this.#send(message)
      // Without a close before it this is a caller that broke off.
      if (this.#socket.readyState === WebSocket.OPEN) this.#socket.terminate()
    } catch (thrown) {
      this.#stream.reset(AppError.from(thrown).toWire())
      this.#socket.terminate()
    }
  }

  async #send(message: PortMessage): Promise<void> {
    const socket = this.#socket
    if (socket.readyState !== WebSocket.OPEN) return
    if (message.kind === 'close') return this.#close(message.code, message.reason)
    const data = message.kind === 'text' ? message.text : message.bytes
    if (socket.bufferedAmount < mostWaiting) return void socket.send(data, ignore)
    await new Promise<void>((resolve) => socket.send(data, () => resolve()))
  }

  #close(code: number, reason: string): void {
    // Paused, it would not see the server's answer.
    this.#socket.resume()
    if (code === noStatus) this.#socket.close()
    else if (maySend(code)) this.#socket.close(code, shortened(reason))
    else this.#socket.terminate()
  }
}

function maySend(code: number): boolean {
  return (
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== noStatus && code !== broken) ||
    (code >= 3000 && code <= 4999)
  )
}

/** As much of a reason as a close frame holds. */
function shortened(reason: string): string {
  const bytes = Buffer.from(reason, 'utf8')
  if (bytes.length <= 123) return reason
  let end = 123
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

const ignore = () => undefined
