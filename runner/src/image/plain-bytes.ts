/** What the plain tars of all layers of an image may take together: content, and headers and padding on top of it. Runs in the jail. */

import { TarRefused } from './tar-header.ts'

const spare = 64 << 20
/** A header, and one that says more of it. */
const perEntry = 1024

export class PlainBytes {
  readonly #maxBytes: number
  #bytes = 0

  /** `maxBytes` is what the content may be. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** More bytes of a tar, in which so many entries were found until now, in all layers. */
  add(bytes: number, entries: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#maxBytes + spare + perEntry * entries)
      throw new TarRefused('too-large', `it is larger than ${this.#maxBytes} bytes`)
  }
}
