/**
 * Which stream ids a connection has used. Each opener uses odd or even ids in rising order and never twice, so one number per opener tells
 * a stream that is gone from one that never was.
 */

import { AppError } from '../errors.ts'
import { highestStreamId } from './limits.ts'

/** Ids that are set aside at a time. */
const blockLength = 512

export interface StreamIdsOptions {
  readonly opens: 'odd' | 'even'
  /** Continues from here, for a connection whose former ids are not remembered. */
  readonly firstId: number | undefined
  readonly onReserve: ((firstId: number) => void) | undefined
}

export class StreamIds {
  readonly #parity: number
  readonly #resumedAt: number
  readonly #onReserve: ((firstId: number) => void) | undefined
  #next: number
  #reservedTo: number
  #highestOfPeer = 0

  constructor({ opens, firstId, onReserve }: StreamIdsOptions) {
    this.#parity = opens === 'odd' ? 1 : 0
    this.#next = firstId ?? (opens === 'odd' ? 1 : 2)
    this.#resumedAt = firstId ?? 0
    this.#reservedTo = this.#next
    this.#onReserve = onReserve
  }

  /** The next id of this side, or undefined once they are used up. */
  take(): number | undefined {
    const id = this.#next
    if (id > highestStreamId) return undefined
    if (id >= this.#reservedTo && this.#onReserve) {
      this.#reservedTo = id + blockLength
      this.#onReserve(this.#reservedTo)
    }
    this.#next = id + 2
    return id
  }

  /** Whether this side opens streams of that id. */
  isOwn(id: number): boolean {
    return id % 2 === this.#parity
  }

  /** Notes that the peer opens a stream. Throws if its ids do not rise. */
  openedByPeer(id: number): void {
    if (id <= this.#highestOfPeer)
      throw new AppError('protocol_error', `cannot go on: the peer opened stream ${id} again or out of order`)
    this.#highestOfPeer = id
  }

  /** Whether a stream that is not open may have been: `unremembered` if that was before this connection was taken up again. */
  former(id: number): 'gone' | 'unremembered' | undefined {
    if (this.isOwn(id)) {
      if (id >= this.#next) return undefined
      return id < this.#resumedAt ? 'unremembered' : 'gone'
    }
    if (id <= this.#highestOfPeer) return 'gone'
    return this.#resumedAt > 0 ? 'unremembered' : undefined
  }
}
