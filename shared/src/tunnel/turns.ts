/** The line in which streams wait for a turn: whoever has sent one frame goes to its end, and whoever is over leaves it. */

import type { Stream } from './stream.ts'

export class Turns {
  /** In the order of coming. */
  readonly #line = new Set<Stream>()

  /** Puts a stream at the end of the line, unless it stands there already. */
  add(stream: Stream): void {
    this.#line.add(stream)
  }

  get length(): number {
    return this.#line.size
  }

  /** The stream whose turn it is, taken out of the line. */
  next(): Stream | undefined {
    const [stream] = this.#line
    if (stream) this.#line.delete(stream)
    return stream
  }

  /** A stream needs no more turns. */
  leave(stream: Stream): void {
    this.#line.delete(stream)
  }

  /** About how many bytes the waiting streams could write now, not counted much further than `enough`. */
  sendableLength(enough: number): number {
    let sum = 0
    for (const stream of this.#line) {
      sum += stream.sendableLength
      if (sum >= enough) break
    }
    return sum
  }

  clear(): void {
    this.#line.clear()
  }
}
