/**
 * A caller's WebSocket joined to a server's in a sandbox, message by message. Pings are answered on each side by the platform itself.
 *
 *   open ──caller closes──▶ closing: the server is told, and has a while ──▶ over
 *     ├──server closes──▶ the caller is told code and reason ──▶ over
 *     └──either side breaks, or the tunnel──▶ over: the other side is closed with 1011 or 1012
 *
 * The platform gives no sign of how much of what was sent to a caller is still on its way, and reads a caller's messages without being asked. What a
 * caller sends faster than its server takes it is bounded here; what a caller does not read waits in the platform's memory, until it does or goes.
 */

import type { Clock } from '@portico/shared/clock'
import { encodePortMessage, type PortMessage, PortMessageDecoder } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { TunnelStream } from '@portico/shared/tunnel'

/** What may wait for the server before a caller's next message is one too many: as much as one message may have. */
const mostWaiting = 33_554_432
/** How long a server may take to say goodbye. */
const goodbyeMs = 10_000
const codes = { broken: 1011, restart: 1012, tooMuch: 1013 } as const

export class SocketBridge {
  /** The caller's end. */
  readonly client: WebSocket
  /** Resolves when nothing is left to do. */
  readonly over: Promise<void>
  readonly #socket: WebSocket
  readonly #stream: TunnelStream
  readonly #clock: Clock
  #waiting = 0
  #isClosed = false
  #stopWaiting: () => void = () => undefined

  constructor(stream: TunnelStream, clock: Clock) {
    const { 0: client, 1: socket } = new WebSocketPair()
    this.client = client
    this.#socket = socket
    this.#stream = stream
    this.#clock = clock
    socket.binaryType = 'arraybuffer'
    socket.accept()
    socket.addEventListener('message', ({ data }) => this.#up(messageOf(data)))
    socket.addEventListener('close', ({ code, reason }) => this.#callerClosed(code, reason))
    socket.addEventListener('error', () => this.#callerClosed(1006, ''))
    this.over = this.#down().finally(() => this.#stopWaiting())
  }

  #up(message: PortMessage): void {
    if (this.#isClosed) return
    if (this.#waiting > mostWaiting) {
      this.#close(codes.tooMuch, 'the server does not take so much at once')
      this.#stream.reset({ code: 'overloaded', message: 'cannot send more: too much waits for the server' })
      return
    }
    this.#write(message)
  }

  #write(message: PortMessage): void {
    const bytes = encodePortMessage(message)
    this.#waiting += bytes.length
    const written = () => {
      this.#waiting -= bytes.length
    }
    // What goes wrong is told by the read.
    this.#stream.write(bytes).then(written, written)
  }

  /** The platform has answered the caller by itself. Without a close of its own it broke off, and so does the server's side. */
  #callerClosed(code: number, reason: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (code !== 1006) this.#write({ kind: 'close', code, reason })
    this.#leave()
  }

  /** Nothing more goes up; the server's side has a while to end as well. */
  #leave(): void {
    this.#stream.end()
    this.#stopWaiting = this.#clock.after(goodbyeMs, () =>
      this.#stream.reset({ code: 'cancelled', message: 'cannot wait longer: the socket is closed' }),
    )
  }

  async #down(): Promise<void> {
    const decoder = new PortMessageDecoder()
    try {
      for (let bytes = await this.#stream.read(); bytes !== undefined; bytes = await this.#stream.read()) {
        for (const message of decoder.push(bytes)) this.#tell(message)
      }
      this.#close(codes.broken, 'the connection to the server broke')
      this.#stream.end()
    } catch (thrown) {
      const { code } = AppError.from(thrown)
      this.#close(code === 'runner_disconnected' ? codes.restart : codes.broken, 'the connection to the server broke')
      this.#stream.reset({ code: 'cancelled', message: 'cannot go on: the socket is over' })
    }
  }

  #tell(message: PortMessage): void {
    if (this.#isClosed) return
    switch (message.kind) {
      case 'text':
        this.#socket.send(message.text)
        break
      case 'binary':
        this.#socket.send(message.bytes)
        break
      case 'close':
        this.#close(message.code, message.reason)
        this.#leave()
    }
  }

  #close(code: number, reason: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      if (code === 1005) this.#socket.close()
      else this.#socket.close(isSendable(code) ? code : codes.broken, reason)
    } catch {
      // It is gone.
    }
  }
}

function messageOf(data: ArrayBuffer | string | Blob): PortMessage {
  if (typeof data === 'string') return { kind: 'text', text: data }
  return { kind: 'binary', bytes: new Uint8Array(data as ArrayBuffer) }
}

/** Codes that stand on a wire; the others only tell of what is missing there. */
function isSendable(code: number): boolean {
  return code >= 1000 && code < 5000 && ![1004, 1005, 1006, 1015].includes(code)
}
