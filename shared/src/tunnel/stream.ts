/**
 * One stream of a connection: two byte sequences, each started by an OPEN, ended once, and slowed down by its own reader only.
 *
 *   opener:    due ──turn──▶ sent                    what this side has done about its OPEN; an opener's is due from the start
 *   acceptor:  quiet ──accept()──▶ due ──turn──▶ sent
 *
 *   live ──END both ways──▶ over                     live ──RESET, or the connection ends──▶ over, with an error
 *
 * It sends OPEN, DATA and END only in the turns that the multiplexer gives it.
 */

import { AppError, type WireError } from '../errors.ts'
import { frameType } from './frame.ts'
import { headerLength, maxHead } from './limits.ts'
import type { Outbox } from './outbox.ts'
import { ReceiveSide } from './receive-side.ts'
import { rejected, SendSide } from './send-side.ts'
import type { TunnelStream } from './types.ts'

/** What a stream asks of its connection. */
export interface StreamHost {
  /** The stream has something to send. */
  wake(stream: Stream): void
  /** Sends CREDIT. */
  credit(id: number, amount: number): void
  /** Sends RESET. */
  reset(id: number, error: WireError): void
  /** The stream is over and may be forgotten. */
  over(stream: Stream): void
}

export interface StreamOptions {
  readonly host: StreamHost
  readonly id: number
  readonly opener: 'this side' | 'peer'
  /** The opener's head. */
  readonly head: Uint8Array
  /** What this side grants. */
  readonly window: number
  /** What the peer granted; 0 until its HELLO is known. */
  readonly credit: number
}

const nothing = new Uint8Array(0)
const ignore = () => undefined

export class Stream implements TunnelStream {
  readonly id: number
  readonly byPeer: boolean
  readonly #host: StreamHost
  readonly #out: SendSide
  readonly #in: ReceiveSide
  #open: 'quiet' | 'due' | 'sent'
  /** The head to send while OPEN is due. */
  #ownHead: Uint8Array
  #peerHead: Uint8Array | undefined
  #answered: PromiseWithResolvers<Uint8Array> | undefined
  #over = false
  #error: AppError | undefined
  #done: PromiseWithResolvers<AppError | undefined> | undefined

  constructor({ host, id, opener, head, window, credit }: StreamOptions) {
    this.id = id
    this.byPeer = opener === 'peer'
    this.#host = host
    this.#out = new SendSide(credit)
    this.#in = new ReceiveSide(window, (amount) => host.credit(id, amount))
    this.#open = this.byPeer ? 'quiet' : 'due'
    this.#ownHead = this.byPeer ? nothing : checkedHead(head)
    this.#peerHead = this.byPeer ? head : undefined
  }

  get done(): Promise<AppError | undefined> {
    if (this.#over) return Promise.resolve(this.#error)
    this.#done ??= Promise.withResolvers()
    return this.#done.promise
  }

  head(): Promise<Uint8Array> {
    if (this.#peerHead) return Promise.resolve(this.#peerHead)
    if (this.#error) return rejected(this.#error)
    this.#answered ??= Promise.withResolvers()
    return this.#answered.promise
  }

  accept(head: Uint8Array = nothing): void {
    if (this.#over) return
    if (this.#open !== 'quiet')
      throw new AppError('internal', 'cannot accept the stream: only its acceptor does, and once')
    this.#ownHead = checkedHead(head)
    this.#open = 'due'
    this.#host.wake(this)
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#in.read()
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#error) return rejected(this.#error)
    if (this.#open === 'quiet') return rejected(notAccepted('write'))
    const written = this.#out.write(bytes)
    if (this.sendable) this.#host.wake(this)
    return written
  }

  end(): void {
    if (this.#over) return
    if (this.#open === 'quiet') throw notAccepted('end')
    this.#out.end()
    if (this.sendable) this.#host.wake(this)
  }

  reset(error: WireError): void {
    if (this.#over) return
    // The peer does not know a stream whose OPEN was never sent.
    if (this.byPeer || this.#open === 'sent') this.#host.reset(this.id, error)
    this.fail(error instanceof AppError ? error : new AppError(error.code, error.message))
  }

  /** Whether a turn would send something. */
  get sendable(): boolean {
    return !this.#over && (this.#open === 'due' || this.#out.sendable)
  }

  /** About how many bytes its coming turns could write. */
  get sendableLength(): number {
    return this.#out.sendableLength + (this.#open === 'due' ? headerLength + this.#ownHead.length : 0)
  }

  /** Writes what may be sent now: OPEN if it is due, one DATA frame, END if that was all. */
  turn(outbox: Outbox): void {
    if (this.#open === 'due') {
      outbox.frame(frameType.open, this.id, this.#ownHead)
      this.#open = 'sent'
      this.#ownHead = nothing
    }
    this.#out.turn(outbox, this.id)
    this.#endIfBothDid()
  }

  /** The peer's CREDIT, or the window of its HELLO. */
  onCredit(amount: number): void {
    if (!this.#out.grant(amount))
      throw new AppError('protocol_error', `cannot go on: the peer granted stream ${this.id} more than 2^31-1 bytes`)
    if (this.sendable) this.#host.wake(this)
  }

  /** The acceptor's OPEN. */
  onAnswer(head: Uint8Array): void {
    if (this.#peerHead) {
      this.#fault('its acceptor answered twice')
      return
    }
    // The head may be kept for long, the chunk it came in may be large.
    this.#peerHead = head.length === 0 ? nothing : head.slice()
    this.#answered?.resolve(this.#peerHead)
  }

  onData(bytes: Uint8Array): void {
    if (!this.#peerHead) this.#fault('data came before the answer')
    else if (this.#in.finished) this.#fault('data came after the end')
    else if (!this.#in.push(bytes))
      throw new AppError('protocol_error', `cannot go on: the peer sent more on stream ${this.id} than it was granted`)
  }

  onEnd(): void {
    if (!this.#peerHead) this.#fault('the end came before the answer')
    else if (this.#in.finished) this.#fault('the end came twice')
    else {
      this.#in.finish()
      this.#endIfBothDid()
    }
  }

  /** Ends it on this side alone: after the peer's RESET, or with the connection. */
  fail(error: AppError): void {
    if (this.#over) return
    this.#error = error
    this.#out.fail(error)
    this.#in.fail(error)
    this.#answered?.promise.catch(ignore)
    if (!this.#peerHead) this.#answered?.reject(error)
    this.#finish()
  }

  #fault(why: string): void {
    this.reset({ code: 'protocol_error', message: `cannot go on with the stream: ${why}` })
  }

  #endIfBothDid(): void {
    if (this.#out.ended && this.#in.finished && !this.#over) this.#finish()
  }

  #finish(): void {
    this.#over = true
    this.#done?.resolve(this.#error)
    this.#host.over(this)
  }
}

function checkedHead(head: Uint8Array): Uint8Array {
  if (head.length <= maxHead) return head
  const why = `its head has ${head.length} bytes, over ${maxHead}`
  throw new AppError('payload_too_large', `cannot start the stream: ${why}`)
}

function notAccepted(what: string): AppError {
  return new AppError('internal', `cannot ${what}: the stream is not accepted yet`)
}
