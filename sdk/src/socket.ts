/**
 * A WebSocket of the API, as something to be read at the reader's pace. The runtime's own is used (browsers, Node 22 and newer, Deno, Workers), or the one that
 * was handed in. It cannot be slowed down, so what was not read is held; beyond a limit the socket is closed, and who reads attaches anew where it stands.
 */

import { makeError } from './errors.ts'
import { socketBytes } from './limits.ts'

/** A WebSocket class, as the runtime's or that of the package `ws`. */
export type WebSocketConstructor = new (url: string) => object

/** A message: text, or bytes. */
export type SocketMessage = string | Uint8Array

/** What the runtimes' sockets have in common. */
interface Raw {
  binaryType: string
  readonly bufferedAmount: number
  send(data: string | Uint8Array): void
  close(code?: number): void
  addEventListener(type: string, listener: (event: RawEvent) => void): void
}

interface RawEvent {
  readonly data?: unknown
  readonly code?: number
  readonly reason?: string
  readonly message?: string
}

/** How often it is looked whether what was sent is out. */
const lookMs = 10

/** @internal */
export class Socket {
  readonly #raw: Raw
  readonly #waiting: SocketMessage[] = []
  #size = 0
  #wake: (() => void) | undefined
  #end: { readonly code: number; readonly reason: string } | undefined

  /** On a socket that is not open yet. */
  constructor(raw: Raw) {
    this.#raw = raw
    raw.binaryType = 'arraybuffer'
    raw.addEventListener('message', ({ data }) => this.#arrive(data))
    raw.addEventListener('close', ({ code = 1006, reason = '' }) => this.#over(code, reason))
    raw.addEventListener('error', () => this.#over(1006, ''))
  }

  /** How it was closed; undefined while it is open. */
  get end(): { readonly code: number; readonly reason: string } | undefined {
    return this.#end
  }

  /** The next message; undefined once it is closed and all was read. */
  async next(signal?: AbortSignal): Promise<SocketMessage | undefined> {
    const woken = () => this.#wake?.()
    signal?.addEventListener('abort', woken, { once: true })
    try {
      while (this.#waiting.length === 0 && this.#end === undefined) {
        signal?.throwIfAborted()
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      signal?.throwIfAborted()
    } finally {
      signal?.removeEventListener('abort', woken)
    }
    const message = this.#waiting.shift()
    if (message !== undefined) this.#size -= message.length
    return message
  }

  /** Sends; resolves once it is not too much that waits to be sent. Throws nothing where it is closed: what is sent then is lost, as on any cut. */
  async send(message: SocketMessage): Promise<void> {
    if (this.#end !== undefined) return
    this.#raw.send(message)
    while (this.#end === undefined && this.#raw.bufferedAmount > socketBytes)
      await new Promise((resolve) => setTimeout(resolve, lookMs))
  }

  close(): void {
    this.#raw.close(1000)
    this.#over(1000, '')
  }

  #arrive(data: unknown): void {
    if (this.#end !== undefined) return
    const message = data instanceof ArrayBuffer ? new Uint8Array(data) : String(data)
    this.#waiting.push(message)
    this.#size += message.length
    if (this.#size > socketBytes) this.close()
    this.#wake?.()
  }

  #over(code: number, reason: string): void {
    this.#end ??= { code, reason }
    this.#wake?.()
  }
}

/** @internal Opens a socket; rejects with what the runtime says, which is little, or with the signal's reason. */
export async function connectSocket(
  given: WebSocketConstructor | undefined,
  url: string,
  doing: string,
  signal: AbortSignal,
): Promise<Socket> {
  const Constructor = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket
  if (Constructor === undefined) throw missing(doing)
  signal.throwIfAborted()
  const raw = new Constructor(url) as Raw
  const socket = new Socket(raw)
  return await new Promise((resolve, reject) => {
    const abort = () => {
      socket.close()
      reject(signal.reason)
    }
    signal.addEventListener('abort', abort, { once: true })
    const settled = () => signal.removeEventListener('abort', abort)
    raw.addEventListener('open', () => {
      settled()
      resolve(socket)
    })
    raw.addEventListener('error', ({ message }) => {
      settled()
      reject(new Error(message || 'the socket was refused'))
    })
    raw.addEventListener('close', ({ code }) => {
      settled()
      reject(new Error(`the socket was closed with ${code}`))
    })
  })
}

function missing(doing: string) {
  return makeError({
    code: 'unsupported',
    message: `cannot ${doing}: this runtime has no WebSocket`,
    status: 0,
    retryable: false,
    hint: 'Use Node 22 or newer, or install ws and pass its WebSocket: new Portico({ webSocket: WebSocket }).',
  })
}
