/**
 * The tunnel sockets of one runner. They outlive the object's memory: what a socket needs to go on stands in its attachment, and which
 * session counts stands in storage.
 *
 *   no session ──a socket──▶ in force, 1 to 8 sockets ──its last socket over──▶ no session
 *                                 └──a socket of another session──▶ replaced: its sockets are closed, nothing they still say is heard
 *
 * The sockets of a session share its streams: each stream is opened on one of them, and a socket that ends takes only its own along.
 */

import type { Clock } from '@portico/shared/clock'
import type { AppError } from '@portico/shared/errors'
import { base32 } from '@portico/shared/ids'
import type { TunnelStream } from '@portico/shared/tunnel'
import type { Dial } from './dial.ts'
import { type Attachment, attach, closeQuietly, Link, lostLink, readAttachment, type Session } from './link.ts'

export { type Session, silentMs } from './link.ts'

const inForce = 'tunnel'
const replacedCode = 4001
const alone: Dial = { session: null, index: 0 }

export interface SessionsOptions {
  readonly ctx: DurableObjectState
  readonly clock: Clock
  readonly onStream: (session: Session, stream: TunnelStream, head: Uint8Array) => void
  /** The session in force, of this id, has lost its last socket. */
  readonly onGone: (id: string) => void
}

export class Sessions {
  readonly #options: SessionsOptions
  readonly #links = new Map<WebSocket, Link>()
  #isAwake = false

  constructor(options: SessionsOptions) {
    this.#options = options
    options.ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'))
  }

  /** Takes a new socket into force and answers the upgrade. */
  accept(dial: Dial = alone): Response {
    const { ctx, clock } = this.#options
    const { 0: client, 1: server } = new WebSocketPair()
    const session = dial.session ?? base32(crypto.getRandomValues(new Uint8Array(16)))
    const replaced = ctx.getWebSockets().filter((socket) => {
      const former = readAttachment(socket)
      return former?.session !== session || former.index === dial.index
    })
    ctx.acceptWebSocket(server)
    const { index } = dial
    const attachment: Attachment = { portico: 1, session, index, acceptedAt: clock.now(), firstId: 1, peer: null }
    attach(server, attachment)
    if (this.id !== session) ctx.storage.kv.put(inForce, session)
    this.#start(server, attachment)
    for (const socket of replaced) forget(socket)
    for (const socket of replaced) this.#replace(socket)
    return new Response(null, { status: 101, webSocket: client })
  }

  /** The session in force. */
  get id(): string | undefined {
    return this.#options.ctx.storage.kv.get<string>(inForce)
  }

  /** The socket for the next stream, if the runner is there. Sockets that fell silent end here. */
  current(): Session | undefined {
    let best: Link | undefined
    for (const link of this.#live()) {
      if (!link.isAlive()) link.drop(lostLink('cannot reach the runner: it has not been heard for too long'))
      else if (best === undefined || link.isBetterThan(best)) best = link
    }
    return best
  }

  /** What the session in force is made of. */
  get state(): { readonly generation: number; readonly sockets: number } {
    const links = this.#live()
    return { generation: Math.max(1, ...links.map((link) => link.generation ?? 1)), sockets: links.length }
  }

  /** A message of a socket. Text is not part of the protocol and is skipped. */
  receive(socket: WebSocket, message: ArrayBuffer | string): void {
    if (typeof message === 'string') return
    this.#of(socket)?.receive(new Uint8Array(message))
  }

  /** A socket ended. */
  ended(socket: WebSocket): void {
    this.#of(socket)?.drop(lostLink('cannot go on: the connection to the runner was lost'))
    closeQuietly(socket, 1000, '')
  }

  /** Ends the session in force and every call on it. */
  end(error: AppError): void {
    for (const link of this.#live()) link.drop(error)
  }

  /** The sockets in force. The first look after a sleep takes them up again, and notices a session that has none any more. */
  #live(): Link[] {
    if (!this.#isAwake) {
      this.#isAwake = true
      for (const socket of this.#options.ctx.getWebSockets()) this.#of(socket)
      this.#leaveIfEmpty()
    }
    return [...this.#links.values()]
  }

  /** The link of a socket that is in force, taken up again if this object has slept. */
  #of(socket: WebSocket): Link | undefined {
    const known = this.#links.get(socket)
    if (known !== undefined) return known
    const attachment = readAttachment(socket)
    if (attachment === undefined || attachment.session !== this.id) return undefined
    if (attachment.peer !== null) return this.#start(socket, attachment)
    // It slept before the runner's HELLO, and a second HELLO of ours would break the connection.
    forget(socket)
    closeQuietly(socket, 1012, 'try again')
    this.#leaveIfEmpty()
    return undefined
  }

  #start(socket: WebSocket, attachment: Attachment): Link {
    const { ctx, clock, onStream } = this.#options
    const link = new Link(socket, attachment, { ctx, clock, onStream, onOver: (over) => this.#over(over) })
    this.#links.set(socket, link)
    return link
  }

  #replace(socket: WebSocket): void {
    closeQuietly(socket, replacedCode, 'replaced by a newer connection')
    this.#links.get(socket)?.drop(lostLink('cannot go on: the runner has connected anew'))
  }

  #over(link: Link): void {
    this.#links.delete(link.socket)
    forget(link.socket)
    if (link.id === this.id) this.#leaveIfEmpty()
  }

  /** Takes the session out of force once no socket is left of it. */
  #leaveIfEmpty(): void {
    const { id } = this
    if (id === undefined || this.#live().length > 0) return
    this.#options.ctx.storage.kv.delete(inForce)
    this.#options.onGone(id)
  }
}

/** Nothing of it is heard any more, whoever remembers it. */
function forget(socket: WebSocket): void {
  try {
    attach(socket, null)
  } catch {
    // It is gone for the platform, too.
  }
}
