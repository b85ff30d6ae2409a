/**
 * The guest's console: read at a limited pace into a ring, so that a guest that prints for ever costs neither memory nor a core. While reading
 * waits, QEMU's serial port is full and the guest waits, too.
 */

import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '@portico/shared/clock'
import { TextRing } from '../text-ring.ts'

const keptBytes = 16 * 1024
/** Far more than a boot prints. */
const bytesPerStep = 64 * 1024
const stepMs = 250

export class Console {
  readonly #ring = new TextRing(keptBytes)
  readonly #socket: Duplex
  readonly #clock: Clock
  #read = 0
  #cancelPause: (() => void) | undefined

  /** Takes the socket over. */
  constructor(socket: Duplex, clock: Clock = systemClock) {
    this.#socket = socket
    this.#clock = clock
    socket.on('error', () => undefined)
    socket.on('close', () => this.close())
    socket.on('data', (bytes: Uint8Array) => this.#keep(bytes))
  }

  text(): string {
    return this.#ring.text()
  }

  close(): void {
    this.#cancelPause?.()
    this.#cancelPause = undefined
    this.#socket.destroy()
  }

  #keep(bytes: Uint8Array): void {
    this.#ring.push(bytes)
    this.#read += bytes.length
    if (this.#read < bytesPerStep || this.#cancelPause) return
    this.#socket.pause()
    this.#cancelPause = this.#clock.after(stepMs, () => {
      this.#cancelPause = undefined
      this.#read = 0
      this.#socket.resume()
    })
  }
}
