/** The line in which streams wait for a turn: whoever has sent one frame goes to its end. */

import type { Stream } from './stream.ts'

export class Turns {
  #line: Stream[] = []
  #next = 0

  /** Puts a stream at the end of the line, unless it stands there already. */
  add(stream: Stream): void {
    if (stream.inLine) return
    stream.inLine = true
    this.#line.push(stream)
  }

  /** The stream whose turn it is, taken out of the line. */
  next(): Stream | undefined {
    const stream = this.#line[this.#next]
    if (!stream) return undefined
    stream.inLine = false
    if (++this.#next === this.#line.length || this.#next === 4096) {
      this.#line.splice(0, this.#next)
      this.#next = 0
    }
    return stream
  }

  /** About how many bytes the waiting streams could write now, not counted much further than `enough`. */
  sendableLength(enough: number): number {
    let sum = 0
    for (let index = this.#next; index < this.#line.length && sum < enough; index++)
      sum += this.#line[index]?.sendableLength ?? 0
    return sum
  }

  clear(): void {
    this.#line = []
    this.#next = 0
  }
}
