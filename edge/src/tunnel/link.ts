/**
 * One tunnel socket: the streams on it and when it was last heard. What it needs to go on after the object slept stands in the socket's
 * attachment.
 *
 *   accepted ──HELLO──▶ open ──socket ends, fault, replaced, silent──▶ over
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import {
  closeFrame,
  defaultWindow,
  type Hello,
  Muxer,
  pingIdleMs,
  pingLimitMs,
  type TunnelStream,
  tunnelGeneration,
} from '@portico/shared/tunnel'

/** A runner that has not been heard for this long, with its ping due every 15 s, is gone although its socket does not say so. */
export const silentMs = pingIdleMs * 2 + pingLimitMs

/** One whose ping is overdue may be on its way out: others are used as long as it is not heard again. */
const freshMs = pingIdleMs + 3_000
/** Up to here a socket is not crowded. */
const roomyStreams = 64

/** Twice the usual window: an object is often some way from its runner, and half as many messages cost half as much. */
const hello: Hello = { generation: tunnelGeneration, role: 'edge', window: defaultWindow * 2 }

export interface Attachment {
  readonly portico: 1
  readonly session: string
  /** Which of the session's sockets it is. */
  readonly index: number
  readonly acceptedAt: number
  readonly firstId: number
  readonly peer: Hello | null
}

/** What calls are made on: one socket of the session in force. */
export interface Session {
  /** Of the session, which its sockets share. */
  readonly id: string
  readonly muxer: Muxer
  /** Whether the runner was heard lately. */
  isAlive(): boolean
  /** Ends the socket and every call on it. */
  drop(error: AppError): void
}

export interface LinkOptions {
  readonly ctx: DurableObjectState
  readonly clock: Clock
  readonly onStream: (session: Session, stream: TunnelStream, head: Uint8Array) => void
  readonly onOver: (link: Link) => void
}

export class Link implements Session {
  readonly id: string
  readonly index: number
  readonly muxer: Muxer
  readonly socket: WebSocket
  isOver = false
  readonly #options: LinkOptions
  #heardAt: number
  #peer: Hello | null

  constructor(socket: WebSocket, attachment: Attachment, options: LinkOptions) {
    const { session, index, acceptedAt, firstId, peer } = attachment
    this.id = session
    this.index = index
    this.socket = socket
    this.#options = options
    // After a sleep nobody knows when it was last heard: it has the time until its next ping is due, and that ping's own, to say something.
    this.#heardAt = peer === null ? acceptedAt : options.clock.now() - pingIdleMs
    this.#peer = peer
    this.muxer = new Muxer({
      carrier: {
        send: (bytes) => socket.send(bytes),
        close: (error) => {
          const { code, reason } = closeFrame(error)
          closeQuietly(socket, code, reason)
        },
      },
      opens: 'odd',
      hello,
      disconnected: 'runner_disconnected',
      messages: true,
      clock: options.clock,
      onStream: (stream, head) => options.onStream(this, stream, head),
      onReserve: (next) => this.#keep({ firstId: next }),
      ...(peer === null ? {} : { resume: { peer, firstId } }),
    })
    if (peer === null) void this.muxer.ready.then((theirs) => this.#greeted(theirs)).catch(() => undefined)
    void this.muxer.closed.then(() => this.#end())
  }

  /** The generation that its runner speaks; null before its HELLO. */
  get generation(): number | null {
    return this.#peer?.generation ?? null
  }

  receive(bytes: Uint8Array): void {
    this.#heardAt = this.#options.clock.now()
    this.muxer.receive(bytes)
  }

  isAlive(): boolean {
    const since = this.#options.clock.now() - silentMs
    if (this.#heardAt >= since) return true
    return (this.#options.ctx.getWebSocketAutoResponseTimestamp(this.socket)?.getTime() ?? 0) >= since
  }

  /**
   * Whether the next stream is better opened here than there: it has said hello, was heard lately, is not crowded or less so. Of equal
   * ones the first is used, as streams on one socket share its messages.
   */
  isBetterThan(other: Link): boolean {
    const order =
      Number(this.#peer !== null) - Number(other.#peer !== null) ||
      Number(this.#isFresh()) - Number(other.#isFresh()) ||
      other.#crowd - this.#crowd ||
      other.index - this.index
    return order > 0
  }

  /** Heard not longer ago than one that has nothing to say is heard. */
  #isFresh(): boolean {
    return this.#heardAt >= this.#options.clock.now() - freshMs
  }

  get #crowd(): number {
    const streams = this.muxer.openStreams
    return streams < roomyStreams ? 0 : streams
  }

  drop(error: AppError): void {
    this.muxer.close(error)
    this.#end()
  }

  #greeted(peer: Hello): void {
    this.#peer = peer
    this.#keep({ peer })
  }

  #end(): void {
    if (this.isOver) return
    this.isOver = true
    this.#options.onOver(this)
  }

  #keep(change: Partial<Attachment>): void {
    const attachment = readAttachment(this.socket)
    if (attachment !== undefined) attach(this.socket, { ...attachment, ...change })
  }
}

/** An attachment of ours, read field by field; a socket with anything else is not ours. */
export function readAttachment(socket: WebSocket): Attachment | undefined {
  const value: unknown = socket.deserializeAttachment()
  if (typeof value !== 'object' || value === null || !('portico' in value) || value.portico !== 1) return undefined
  const { session, index = 0, acceptedAt, firstId, peer } = value as Partial<Attachment>
  if (typeof session !== 'string' || typeof acceptedAt !== 'number' || typeof firstId !== 'number') return undefined
  return { portico: 1, session, index, acceptedAt, firstId, peer: peer ?? null }
}

/** With null the socket is not ours any more: nothing that still comes from it is heard, whoever remembers it. */
export function attach(socket: WebSocket, attachment: Attachment | null): void {
  socket.serializeAttachment(attachment)
}

/** Closing a socket that is closed already is no error. */
export function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason)
  } catch {
    // It is gone.
  }
}

/** The error of a socket that its runner no longer uses. */
export function lostLink(why: string): AppError {
  return new AppError('runner_disconnected', why)
}
