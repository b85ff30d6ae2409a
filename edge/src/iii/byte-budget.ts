/** How many bytes of guests' answers an object holds at once: whoever would hold more waits for its turn, in order. */

import { AppError } from '@portico/shared/errors'

const mostBytes = 25_165_824
const waitMs = 20_000

export class ByteBudget {
  #free = mostBytes
  readonly #waiting: { bytes: number; go: () => void }[] = []

  /** Does work that holds so many bytes, once there is room for them. */
  async during<Value>(asked: number, work: () => Promise<Value>): Promise<Value> {
    const bytes = Math.min(asked, mostBytes)
    await this.#take(bytes)
    try {
      return await work()
    } finally {
      this.#free += bytes
      this.#next()
    }
  }

  #take(bytes: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const late = new AppError('overloaded', 'cannot read the answer: too many are being read')
    const timer = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(one), 1)
      reject(late)
      this.#next()
    }, waitMs)
    const one = {
      bytes,
      go: () => {
        clearTimeout(timer)
        resolve()
      },
    }
    this.#waiting.push(one)
    this.#next()
    return promise
  }

  #next(): void {
    for (let [one] = this.#waiting; one !== undefined && one.bytes <= this.#free; [one] = this.#waiting) {
      this.#waiting.shift()
      this.#free -= one.bytes
      one.go()
    }
  }
}
