/**
 * The tunnel sockets of one runner. They outlive the object's memory: what a connection needs to go on stands in the socket's attachment,
 * and which socket counts stands in storage.
 *
 *   accepted ──HELLO──▶ open ──socket ends, fault, replaced, silent──▶ gone
 *
 * The newest accepted socket is the one in force; those before it are closed, and nothing they still say is heard.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import {
  closeFrame,
  defaultWindow,
  type Hello,
  Muxer,
  pingIdleMs,
  pingLimitMs,
  type TunnelStream,
} from '@portico/shared/tunnel'

/** A runner that has not been heard for this long, with its ping due every 15 s, is gone although its socket does not say so. */
export const silentMs = pingIdleMs * 2 + pingLimitMs

const inForce = 'tunnel'
const replacedCode = 4001
/** Twice the usual window: an object is often some way from its runner, and half as many messages cost half as much. */
const hello: Hello = { generation: 1, role: 'edge', window: defaultWindow * 2 }

interface Attachment {
  readonly portico: 1
  /** Random, one per socket. */
  readonly session: string
  readonly acceptedAt: number
  readonly firstId: number
  readonly peer: Hello | null
}

export interface Session {
  readonly id: string
  readonly muxer: Muxer
  /** Whether the runner was heard lately. */
  isAlive(): boolean
  /** Ends the session and every call on it. */
  drop(error: AppError): void
}

export interface SessionsOptions {
  readonly ctx: DurableObjectState
  readonly clock: Clock
  readonly onStream: (session: Session, stream: TunnelStream, head: Uint8Array) => void
  /** The session in force, of this id, ended. */
  readonly onGone: (id: string) => void
}

export class Sessions {
  readonly #options: SessionsOptions
  readonly #live = new Map<WebSocket, LiveSession>()
  #current: LiveSession | undefined

  constructor(options: SessionsOptions) {
    this.#options = options
    options.ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'))
  }

  /** Takes a new socket into force and answers the upgrade. */
  accept(): Response {
    const { ctx, clock } = this.#options
    const { 0: client, 1: server } = new WebSocketPair()
    const former = ctx.getWebSockets()
    const session = base32(crypto.getRandomValues(new Uint8Array(16)))
    ctx.acceptWebSocket(server)
    write(server, { portico: 1, session, acceptedAt: clock.now(), firstId: 1, peer: null })
    ctx.storage.kv.put(inForce, session)
    for (const socket of former) this.#replace(socket)
    this.#start(server)
    return new Response(null, { status: 101, webSocket: client })
  }

  /** The session in force, if its runner is there. */
  current(): Session | undefined {
    if (this.#current === undefined || this.#current.isOver) this.#current = this.#find()
    const session = this.#current
    if (session === undefined || session.isAlive()) return session
    session.drop(new AppError('runner_disconnected', 'cannot reach the runner: it has not been heard for too long'))
    return undefined
  }

  /** A message of a socket. Text is not part of the protocol and is skipped. */
  receive(socket: WebSocket, message: ArrayBuffer | string): void {
    if (typeof message === 'string') return
    this.#of(socket)?.receive(new Uint8Array(message))
  }

  /** A socket ended. */
  ended(socket: WebSocket): void {
    this.#of(socket)?.drop(new AppError('runner_disconnected', 'cannot go on: the connection to the runner was lost'))
    closeQuietly(socket, 1000, '')
    this.#live.delete(socket)
  }

  #find(): LiveSession | undefined {
    for (const socket of this.#options.ctx.getWebSockets()) {
      const session = this.#of(socket)
      if (session !== undefined) return session
    }
    return undefined
  }

  /** The session of a socket that is in force, taken up again if this object has slept. */
  #of(socket: WebSocket): LiveSession | undefined {
    const known = this.#live.get(socket)
    if (known !== undefined) return known.isOver ? undefined : known
    const attachment = read(socket)
    if (attachment === undefined || attachment.session !== this.#options.ctx.storage.kv.get<string>(inForce))
      return undefined
    if (attachment.peer !== null) return this.#start(socket)
    // It slept before the runner's HELLO, and a second HELLO of ours would break the connection.
    closeQuietly(socket, 1012, 'try again')
    leave(this.#options, attachment.session)
    return undefined
  }

  #start(socket: WebSocket): LiveSession {
    const session = new LiveSession(socket, this.#options)
    this.#live.set(socket, session)
    return session
  }

  #replace(socket: WebSocket): void {
    const session = this.#live.get(socket)
    this.#live.delete(socket)
    closeQuietly(socket, replacedCode, 'replaced by a newer connection')
    session?.drop(new AppError('runner_disconnected', 'cannot go on: the runner has connected anew'))
  }
}

class LiveSession implements Session {
  readonly id: string
  readonly muxer: Muxer
  isOver = false
  readonly #socket: WebSocket
  readonly #options: SessionsOptions
  #heardAt: number

  constructor(socket: WebSocket, options: SessionsOptions) {
    const { session, acceptedAt, firstId, peer } = read(socket) as Attachment
    this.id = session
    this.#socket = socket
    this.#options = options
    this.#heardAt = acceptedAt
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
    if (peer === null) void this.muxer.ready.then((theirs) => this.#keep({ peer: theirs })).catch(() => undefined)
    void this.muxer.closed.then(() => this.#gone())
  }

  receive(bytes: Uint8Array): void {
    this.#heardAt = this.#options.clock.now()
    this.muxer.receive(bytes)
  }

  isAlive(): boolean {
    const since = this.#options.clock.now() - silentMs
    if (this.#heardAt >= since) return true
    return (this.#options.ctx.getWebSocketAutoResponseTimestamp(this.#socket)?.getTime() ?? 0) >= since
  }

  drop(error: AppError): void {
    this.muxer.close(error)
    this.isOver = true
  }

  #gone(): void {
    this.isOver = true
    leave(this.#options, this.id)
  }

  #keep(change: Partial<Attachment>): void {
    const attachment = read(this.#socket)
    if (attachment !== undefined) write(this.#socket, { ...attachment, ...change })
  }
}

/** Takes a session out of force, if it still is. */
function leave({ ctx, onGone }: SessionsOptions, id: string): void {
  const { kv } = ctx.storage
  if (kv.get<string>(inForce) !== id) return
  kv.delete(inForce)
  onGone(id)
}

/** An attachment of ours, read field by field; a socket with anything else is not ours. */
function read(socket: WebSocket): Attachment | undefined {
  const value: unknown = socket.deserializeAttachment()
  if (typeof value !== 'object' || value === null || !('portico' in value) || value.portico !== 1) return undefined
  const { session, acceptedAt, firstId, peer } = value as Partial<Attachment>
  if (typeof session !== 'string' || typeof acceptedAt !== 'number' || typeof firstId !== 'number') return undefined
  return { portico: 1, session, acceptedAt, firstId, peer: peer ?? null }
}

function write(socket: WebSocket, attachment: Attachment): void {
  socket.serializeAttachment(attachment)
}

/** Closing a socket that is closed already is no error. */
function closeQuietly(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason)
  } catch {
    // It is gone.
  }
}
