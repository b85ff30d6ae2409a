/**
 * The way out of a connection: owns the carrier's use, the line of streams that wait to send, and the frames that wait for no credit.
 * All frames of one turn of the event loop leave together.
 *
 *   holding (no stream's frames before the peer's HELLO) ──release()──▶ sending ◀──▶ full (the carrier takes no more)
 *   any ──stop()──▶ stopped
 *
 * It never waits: what cannot be sent stays with its stream.
 */

import { AppError } from '../errors.ts'
import { frameType } from './frame.ts'
import { headerLength, maxBacklog, maxData, maxHead, maxMessage } from './limits.ts'
import { Outbox } from './outbox.ts'
import type { Stream } from './stream.ts'
import { Turns } from './turns.ts'
import type { Carrier } from './types.ts'

/** The most that one turn of a stream writes. */
const longestTurn = headerLength + maxHead + headerLength + maxData + headerLength

export interface SenderOptions {
  readonly carrier: Carrier
  /** The carrier threw, or its wait was rejected. */
  readonly onCarrierFailed: (cause: unknown) => void
  /** The peer makes this side answer and does not read the answers. */
  readonly onOverload: (error: AppError) => void
}

export class Sender {
  readonly #options: SenderOptions
  readonly #outbox = new Outbox()
  readonly #turns = new Turns()
  /** The answer that is due to the latest PING. */
  #pong: Uint8Array | undefined
  #state: 'holding' | 'sending' | 'stopped' = 'holding'
  #full = false
  #flushDue = false

  constructor(options: SenderOptions) {
    this.#options = options
  }

  /** Queues a frame that waits for no credit. */
  send(type: number, id: number, payload: Uint8Array): void {
    if (this.#state === 'stopped') return
    this.#outbox.frame(type, id, payload)
    if (this.#full && this.#outbox.length > maxBacklog)
      this.#options.onOverload(new AppError('overloaded', 'cannot go on: the peer asks and does not read'))
    else this.#flushSoon()
  }

  /** Answers a PING; only the latest answer that is due is kept. */
  pong(payload: Uint8Array): void {
    this.#pong = payload.slice()
    this.#flushSoon()
  }

  /** Gives a stream turns for as long as it has something to send. */
  wake(stream: Stream): void {
    this.#turns.add(stream)
    this.#flushSoon()
  }

  /** A stream is over: it has no more turns. */
  leave(stream: Stream): void {
    this.#turns.leave(stream)
  }

  /** The peer's HELLO is known: streams may send. */
  release(): void {
    if (this.#state === 'holding') this.#state = 'sending'
    this.#flushSoon()
  }

  /** Sends now what may be sent. */
  flush(): void {
    while (!this.#full && this.#state !== 'stopped') {
      this.#gather()
      const message = this.#outbox.take()
      if (!message) return
      this.#hand(message)
    }
  }

  /** Nothing is sent from now on. */
  stop(): void {
    this.#state = 'stopped'
    this.#turns.clear()
  }

  #flushSoon(): void {
    if (this.#flushDue || this.#full || this.#state === 'stopped') return
    this.#flushDue = true
    queueMicrotask(() => {
      this.#flushDue = false
      this.flush()
    })
  }

  /** Lets streams write until a message is full. */
  #gather(): void {
    if (this.#pong) {
      this.#outbox.frame(frameType.pong, 0, this.#pong)
      this.#pong = undefined
    }
    if (this.#state !== 'sending') return
    this.#outbox.expect(this.#turns.sendableLength(maxMessage))
    while (this.#outbox.length + longestTurn <= maxMessage) {
      const stream = this.#turns.next()
      if (!stream) return
      stream.turn(this.#outbox)
      if (stream.sendable) this.#turns.add(stream)
    }
  }

  #hand(message: Uint8Array): void {
    const { carrier, onCarrierFailed } = this.#options
    try {
      carrier.send(message)
      const wait = carrier.full?.()
      if (!wait) return
      this.#full = true
      wait.then(
        () => {
          this.#full = false
          this.#flushSoon()
        },
        (cause: unknown) => onCarrierFailed(cause),
      )
    } catch (cause) {
      onCarrierFailed(cause)
    }
  }
}
