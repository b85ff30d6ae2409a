/**
 * A terminal's socket that is made again when it breaks: bytes both ways, and JSON between them. It knows up to which offset its bytes were consumed, and asks to
 * go on from there. What was consumed is acknowledged, so that the platform sends no more than a little ahead.
 */

import { Deferred } from './deferred.ts'
import { makeError, type PorticoError } from './errors.ts'
import { reported } from './failures.ts'
import { Reattachment } from './reattachment.ts'
import type { Socket } from './socket.ts'
import type { SocketCall, Transport } from './transport.ts'

/** What comes down a line. */
export type LineItem = { readonly bytes: Uint8Array } | { readonly said: LineEvent }

/** JSON of the platform's; who gets it checks it. */
export interface LineEvent {
  readonly type: string
  readonly [field: string]: unknown
}

export interface LineOptions {
  readonly doing: string
  readonly path: string
  /** What a new socket is asked with; `from` is the offset to go on at, undefined for the first. */
  readonly query: (from: number | undefined) => Readonly<Record<string, string>>
  readonly token?: string | undefined
  /** The event after which nothing comes. */
  readonly last: 'exit' | 'closed'
  readonly silenceSec: number
  readonly signal: AbortSignal
}

/** How many bytes are consumed before that is told. */
const ackBytes = 65_536

export class Line {
  readonly #transport: Transport
  readonly #options: LineOptions
  #socket: Socket | undefined
  /** Who waits for a socket to send on. */
  #opened = new Deferred<void>()
  #asked: number | undefined
  #offset: number | undefined
  #received = 0
  #acknowledged = 0
  #isOver = false

  private constructor(transport: Transport, options: LineOptions) {
    this.#transport = transport
    this.#options = options
  }

  /** Opens a line; what the first socket is refused for is thrown at once. */
  static async open(transport: Transport, options: LineOptions): Promise<Line> {
    const line = new Line(transport, options)
    await line.#connect()
    return line
  }

  /** The offset of the next byte; undefined before the first event. */
  get offset(): number | undefined {
    return this.#offset
  }

  /** What comes, whatever happens to the connection, until the last event was consumed or the line was closed. */
  async *items(): AsyncGenerator<LineItem, void> {
    const { signal, silenceSec, last } = this.#options
    const attached = new Reattachment(this.#transport.clock, silenceSec)
    for (;;) {
      try {
        const socket = this.#socket ?? (await this.#connect())
        for (let message = await socket.next(signal); message !== undefined; message = await socket.next(signal)) {
          attached.heard()
          const item = this.#take(message)
          if (item === undefined) continue
          yield item
          if ('said' in item && item.said.type === last) return this.close()
          this.#acknowledge()
        }
        if (this.#isOver) return
        this.#apart()
        await attached.again(this.#broken(socket), signal)
      } catch (error) {
        if (this.#isOver) return
        this.#apart()
        await attached.again(error, signal)
      }
    }
  }

  /** Sends; waits while there is no connection. */
  async send(message: string | Uint8Array): Promise<void> {
    while (!this.#isOver) {
      const socket = this.#socket
      if (socket !== undefined && socket.end === undefined) return await socket.send(message)
      if (socket !== undefined) this.#apart()
      await Promise.race([this.#opened.promise, aborted(this.#options.signal)])
    }
  }

  close(): void {
    this.#isOver = true
    this.#socket?.close()
    this.#opened.resolve()
  }

  async #connect(): Promise<Socket> {
    const { doing, path, query, token, signal } = this.#options
    this.#asked = this.#offset
    const call: SocketCall = { path, query: query(this.#offset), doing, token, signal }
    const socket = await this.#transport.socket(call)
    this.#received = this.#acknowledged = 0
    this.#socket = socket
    this.#opened.resolve()
    // Bounds what is sent ahead from the start. Besides, a socket on which nothing ever went up is not closed by the platform's runtime for 10 s.
    if (this.#options.last === 'exit') void socket.send(JSON.stringify({ type: 'ack', bytes: 0 }))
    return socket
  }

  #apart(): void {
    if (this.#socket === undefined) return
    this.#socket.close()
    this.#socket = undefined
    this.#opened = new Deferred()
  }

  #take(message: string | Uint8Array): LineItem | undefined {
    if (typeof message !== 'string') {
      this.#received += message.length
      this.#offset = (this.#offset ?? 0) + message.length
      return { bytes: message }
    }
    const said = parse(message)
    if (said === undefined) return undefined
    if (typeof said.offset === 'number') this.#offset = said.offset
    else if (said.type === 'gap' && typeof said.bytes === 'number') this.#skip(said.bytes)
    if (said.type === 'error' && said.id === undefined) throw reported(String(said.code), String(said.error))
    return { said }
  }

  /** A hole at the very beginning is in the offset already that the platform began with. */
  #skip(bytes: number): void {
    const begun = this.#received === 0 && (this.#offset ?? 0) >= (this.#asked ?? 0) + bytes
    if (!begun) this.#offset = (this.#offset ?? 0) + bytes
  }

  #acknowledge(): void {
    if (this.#received - this.#acknowledged < ackBytes) return
    this.#acknowledged = this.#received
    void this.#socket?.send(JSON.stringify({ type: 'ack', bytes: this.#received }))
  }

  #broken(socket: Socket): PorticoError {
    const { code = 1006, reason = '' } = socket.end ?? {}
    const message = `cannot ${this.#options.doing}: the socket was closed with ${code}${reason === '' ? '' : ` (${reason})`}`
    return makeError({ code: 'unreachable', message, status: 0, retryable: true })
  }
}

function parse(text: string): LineEvent | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isEvent = typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
    return isEvent ? (value as LineEvent) : undefined
  } catch {
    return undefined
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
