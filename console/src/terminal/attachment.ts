/**
 * One viewer of a console: a WebSocket that is opened again whenever it is cut, from the byte where it stood, so that nothing is shown twice.
 *
 *   connecting ──joined──▶ replaying ──live──▶ live ──cut──▶ waiting ──back-off──▶ connecting …
 *                    any ──exit, refusal, close()──▶ over
 *
 * It owns the socket and its timer. It counts what was shown and acknowledges it; what is shown, and how, is its owner's.
 */

import type { ConsoleEvent, ConsoleInput } from '@portico/shared/api'

export type Phase = 'connecting' | 'replaying' | 'live' | 'waiting' | 'over'

/** What of a WebSocket is used, so that tests can do without one. */
export type Socket = Pick<WebSocket, 'binaryType' | 'close' | 'onclose' | 'onmessage' | 'send'> & {
  readonly readyState: number
}

export interface AttachmentOptions {
  /** Opens a socket; `from` is the offset where this viewer stands, if it saw anything. */
  readonly open: (from: number | undefined) => Socket
  /** Shows bytes; `shown` is called once they are on the screen. */
  readonly onBytes: (bytes: Uint8Array, shown: () => void) => void
  readonly onEvent: (event: ConsoleEvent) => void
  readonly onPhase: (phase: Phase) => void
  /** Calls `run` after so many milliseconds; returns what cancels that. */
  readonly later?: (run: () => void, ms: number) => () => void
}

const firstDelayMs = 250
const longestDelayMs = 10_000
/** So many bytes are shown before they are acknowledged, well below what may be on its way. */
const ackEvery = 131_072
const openState = 1
/** The console takes frames up to some size; a paste is cut into pieces. */
const largestInput = 65_536
/** Errors after which another attempt would end the same. */
const final = ['unauthorized', 'forbidden', 'not_found', 'sandbox_not_found', 'sandbox_lost', 'sandbox_failed']

export class Attachment {
  readonly #options: AttachmentOptions
  #socket: Socket | undefined
  #phase: Phase = 'connecting'
  /** Offset behind the last byte that came. */
  #offset: number | undefined
  /** Bytes at the beginning of this connection that were shown before. */
  #skip = 0
  /** Since joining. */
  #came = 0
  #shown = 0
  #acked = 0
  #attempts = 0
  #cancel: (() => void) | undefined

  constructor(options: AttachmentOptions) {
    this.#options = options
    this.#connect()
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Offset behind the last byte that came. */
  get offset(): number | undefined {
    return this.#offset
  }

  /** Sends keystrokes; returns whether they went out. */
  type(bytes: Uint8Array): boolean {
    if (this.#phase !== 'live' && this.#phase !== 'replaying') return false
    for (let at = 0; at < bytes.length; at += largestInput) {
      const piece = bytes.slice(at, at + largestInput)
      this.#socket?.send(piece)
    }
    return true
  }

  resize(cols: number, rows: number): void {
    this.#tell({ type: 'resize', cols, rows })
  }

  /** Tries again at once, where it would have waited. */
  hurry(): void {
    if (this.#phase !== 'waiting') return
    this.#cancel?.()
    this.#connect()
  }

  close(): void {
    this.#end()
  }

  #connect(): void {
    this.#enter('connecting')
    const socket = this.#options.open(this.#offset)
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return
      if (typeof data === 'string') this.#event(data)
      else this.#bytes(new Uint8Array(data as ArrayBuffer))
    }
    socket.onclose = () => {
      if (this.#socket === socket) this.#cut()
    }
  }

  #event(text: string): void {
    const event = parsed(text)
    if (event === undefined) return
    if (event.type === 'joined') this.#joined(event.offset)
    if (event.type === 'gap') this.#offset = (this.#offset ?? 0) + event.bytes
    if (event.type === 'live') {
      this.#attempts = 0
      this.#enter('live')
    }
    this.#options.onEvent(event)
    if (event.type === 'exit' || (event.type === 'error' && final.includes(event.code))) this.#end()
  }

  #joined(offset: number): void {
    const stood = this.#offset
    this.#skip = stood === undefined ? 0 : Math.max(0, stood - offset)
    if (stood !== undefined && offset > stood) this.#options.onEvent({ type: 'gap', bytes: offset - stood })
    this.#offset = offset
    this.#came = 0
    this.#shown = 0
    this.#acked = 0
    this.#enter('replaying')
  }

  #bytes(bytes: Uint8Array): void {
    this.#offset = (this.#offset ?? 0) + bytes.length
    this.#came += bytes.length
    const known = Math.min(this.#skip, bytes.length)
    this.#skip -= known
    const socket = this.#socket
    const shown = () => {
      if (this.#socket === socket) this.#acknowledge(bytes.length)
    }
    if (known === bytes.length) shown()
    else this.#options.onBytes(bytes.subarray(known), shown)
  }

  #acknowledge(count: number): void {
    this.#shown += count
    if (this.#shown - this.#acked < ackEvery && this.#shown < this.#came) return
    this.#acked = this.#shown
    this.#tell({ type: 'ack', bytes: this.#shown })
  }

  #tell(message: ConsoleInput): void {
    if (this.#socket?.readyState === openState) this.#socket.send(JSON.stringify(message))
  }

  #cut(): void {
    this.#socket = undefined
    this.#enter('waiting')
    const delay = Math.min(longestDelayMs, firstDelayMs * 2 ** this.#attempts++)
    const later = this.#options.later ?? onTimer
    this.#cancel = later(() => this.#connect(), delay * (0.75 + Math.random() / 2))
  }

  #end(): void {
    this.#cancel?.()
    const socket = this.#socket
    this.#socket = undefined
    this.#enter('over')
    socket?.close()
  }

  #enter(phase: Phase): void {
    if (this.#phase === 'over' && phase !== 'over') return
    if (phase === this.#phase && phase !== 'connecting') return
    this.#phase = phase
    this.#options.onPhase(phase)
  }
}

/** An event, as far as its type is known here: a newer platform may say more. */
function parsed(text: string): ConsoleEvent | undefined {
  try {
    const event: unknown = JSON.parse(text)
    const known = typeof event === 'object' && event !== null && 'type' in event && typeof event.type === 'string'
    return known ? (event as ConsoleEvent) : undefined
  } catch {
    return undefined
  }
}

function onTimer(run: () => void, ms: number): () => void {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}
