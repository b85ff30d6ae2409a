/**
 * The way out of a connection: owns the carrier's use, the line of streams that wait to send, and the frames that wait for no credit.
 * All frames of one turn of the event loop leave together.
 *
 *   holding (no stream's frames before the peer's HELLO) ──release()──▶ sending ◀──▶ full (the carrier takes no more)
 *   sending ──pause()──▶ pausing (the last frames are on their way) ──▶ paused ──resume()──▶ sending
 *   any ──stop()──▶ stopped
 *
 * It never waits: what cannot be sent stays with its stream.
 */

import { AppError } from '../errors.ts'
import { frameType } from './frame.ts'
import { headerLength, maxBacklog, maxData, maxHead, maxMessage } from './limits.ts'
import { giveBack, Outbox } from './outbox.ts'
import type { Stream } from './stream.ts'
import { Turns } from './turns.ts'
import type { Carrier } from './types.ts'

/** The most that one turn of a stream writes. */
const longestTurn = headerLength + maxHead + headerLength + maxData + headerLength

export interface SenderOptions {
  readonly carrier: Carrier
  /** The carrier threw, or its wait was rejected. */
  readonly onCarrierFailed: (cause: unknown) => void
  /** Runs something once this turn is over: what is sent until then leaves together. */
  readonly soon?: ((run: () => void) => void) | undefined
  /** The peer makes this side answer and does not read the answers. */
  readonly onOverload: (error: AppError) => void
}

/** A promise's reaction, as `queueMicrotask` is a call out of the engine on some platforms and costs more. */
function asMicrotask(run: () => void): void {
  void Promise.resolve().then(run)
}

export class Sender {
  readonly #options: SenderOptions
  #outbox = new Outbox()
  readonly #turns = new Turns()
  /** The answer that is due to the latest PING. */
  #pong: Uint8Array | undefined
  #state: 'holding' | 'sending' | 'paused' | 'stopped' = 'holding'
  /** What still goes to a carrier that is to be left, and whom to tell that it went. */
  #last: { readonly outbox: Outbox; readonly sent: () => void } | undefined
  #carrier: Carrier
  #full = false
  #flushDue = false
  readonly #soon: (run: () => void) => void
  readonly #flushDueNow = (): void => {
    this.#flushDue = false
    this.flush()
  }

  constructor(options: SenderOptions) {
    this.#options = options
    this.#carrier = options.carrier
    this.#soon = options.soon ?? asMicrotask
  }

  /** Queues a frame that waits for no credit. */
  send(type: number, id: number, payload: Uint8Array): void {
    if (this.#state === 'stopped') return
    this.#outbox.frame(type, id, payload)
    if ((this.#full || this.#state === 'paused') && this.#outbox.length > maxBacklog)
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

  /** Sends what waits for no credit, then this frame, and nothing more until `resume`; calls `sent` before the carrier gets the last of it. */
  pause(type: number, payload: Uint8Array, sent: () => void): void {
    this.#outbox.frame(type, 0, payload)
    this.#last = { outbox: this.#outbox, sent }
    this.#outbox = new Outbox()
    this.#pong = undefined
    this.#state = 'paused'
    this.flush()
  }

  /** Goes on with another carrier. What the former does from now on means nothing. */
  resume(carrier: Carrier): void {
    if (this.#state !== 'paused') return
    this.#carrier = carrier
    this.#full = false
    this.#last = undefined
    this.#state = 'sending'
    this.#flushSoon()
  }

  /** Sends now what may be sent. */
  flush(): void {
    while (!this.#full && this.#state !== 'stopped') {
      const message = this.#next()
      if (!message) return
      this.#hand(message)
    }
  }

  #next(): Uint8Array | undefined {
    if (this.#state !== 'paused') {
      this.#gather()
      return this.#outbox.take()
    }
    const { outbox, sent } = this.#last ?? {}
    const message = outbox?.take()
    if (outbox?.length !== 0) return message
    this.#last = undefined
    sent?.()
    return message
  }

  /** Nothing is sent from now on. */
  stop(): void {
    this.#state = 'stopped'
    this.#turns.clear()
  }

  #flushSoon(): void {
    if (this.#flushDue || this.#full || this.#state === 'stopped') return
    this.#flushDue = true
    this.#soon(this.#flushDueNow)
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
    const { onCarrierFailed } = this.#options
    const carrier = this.#carrier
    try {
      carrier.send(message, () => giveBack(message))
      const wait = carrier.full?.()
      if (!wait) return
      this.#full = true
      wait.then(
        () => {
          if (carrier !== this.#carrier) return
          this.#full = false
          this.#flushSoon()
        },
        (cause: unknown) => (carrier === this.#carrier ? onCarrierFailed(cause) : undefined),
      )
    } catch (cause) {
      onCarrierFailed(cause)
    }
  }
}
