/**
 * What one side of a stream has to send: writes that wait for credit, then END. It takes turns with other streams, one DATA frame each.
 *
 *   open ──end()──▶ ending ──last byte and END written──▶ ended        any ──fail()──▶ failed
 */

import { AppError } from '../errors.ts'
import { frameType } from './frame.ts'
import { headerLength, maxCredit, maxData } from './limits.ts'
import type { Outbox } from './outbox.ts'

interface Write {
  readonly bytes: Uint8Array
  /** How much of it is sent. */
  offset: number
  readonly resolve: () => void
  readonly reject: (error: AppError) => void
  readonly promise: Promise<void>
}

const ignore = () => undefined

export class SendSide {
  #writes: Write[] = []
  #queued = 0
  #credit: number
  #state: 'open' | 'ending' | 'ended' | 'failed' = 'open'

  constructor(credit: number) {
    this.#credit = credit
  }

  get ended(): boolean {
    return this.#state === 'ended'
  }

  /** Whether a turn would send something. */
  get sendable(): boolean {
    if (this.#writes.length > 0) return this.#credit > 0 || this.#queued === 0
    return this.#state === 'ending'
  }

  /** About how many bytes the coming turns could write. */
  get sendableLength(): number {
    const data = Math.min(this.#credit, this.#queued)
    return data + headerLength * (2 + Math.ceil(data / maxData))
  }

  /** Grants credit. False if the sum is over what may be granted. */
  grant(amount: number): boolean {
    this.#credit += amount
    return this.#credit <= maxCredit
  }

  /** Queues bytes; resolves when the last of them is written. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#state !== 'open')
      return rejected(new AppError('internal', 'cannot write: this side of the stream has ended'))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#writes.push({ bytes, offset: 0, resolve, reject, promise })
    this.#queued += bytes.length
    return promise
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ending'
  }

  /** Rejects what waits. Nothing is sent from now on. */
  fail(error: AppError): void {
    if (this.#state === 'ended') return
    this.#state = 'failed'
    this.#queued = 0
    for (const write of this.#writes.splice(0)) {
      write.promise.catch(ignore)
      write.reject(error)
    }
  }

  /** Writes one DATA frame, as far as credit goes, and END once all is written. */
  turn(outbox: Outbox, stream: number): void {
    const length = Math.min(this.#credit, this.#queued, maxData)
    if (length > 0) this.#data(outbox, stream, length)
    this.#resolveWritten()
    if (this.#writes.length === 0 && this.#state === 'ending') {
      outbox.header(frameType.end, 0, stream)
      this.#state = 'ended'
    }
  }

  #data(outbox: Outbox, stream: number, length: number): void {
    let at = outbox.header(frameType.data, length, stream)
    for (let missing = length; missing > 0; ) {
      const write = this.#writes[0] as Write
      const take = Math.min(missing, write.bytes.length - write.offset)
      outbox.into(at, write.bytes.subarray(write.offset, write.offset + take))
      write.offset += take
      at += take
      missing -= take
      if (write.offset === write.bytes.length) this.#resolveWritten()
    }
    this.#credit -= length
    this.#queued -= length
  }

  #resolveWritten(): void {
    for (let write = this.#writes[0]; write && write.offset === write.bytes.length; write = this.#writes[0]) {
      this.#writes.shift()
      write.resolve()
    }
  }
}

/** A rejection that nobody has to look at: the stream's other calls tell the same. */
export function rejected(error: AppError): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(ignore)
  return promise
}
