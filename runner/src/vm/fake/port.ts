/**
 * The link between a fake machine's guest and the host: two ends of one stream of bytes each way. While the machine is paused nothing passes in either
 * direction, in order, ends included: what the host sends waits as it would in the machine's socket.
 */

import { Duplex } from 'node:stream'

/** Holds back what passes through it while it is shut. */
export class Gate {
  #open = true
  #waiting: (() => void)[] = []

  get open(): boolean {
    return this.#open
  }

  /** Runs `act` now, or in turn once the gate is open. */
  pass(act: () => void): void {
    if (this.#open && this.#waiting.length === 0) act()
    else this.#waiting.push(act)
  }

  shut(): void {
    this.#open = false
  }

  unlock(): void {
    this.#open = true
    while (this.#open) {
      const act = this.#waiting.shift()
      if (!act) return
      act()
    }
  }
}

class End extends Duplex {
  #other: End | undefined
  #goOn: (() => void) | undefined
  readonly #gate: Gate

  constructor(gate: Gate) {
    super({ highWaterMark: 64 * 1024 })
    this.#gate = gate
  }

  meet(other: End): void {
    this.#other = other
  }

  override _read(): void {
    const goOn = this.#goOn
    this.#goOn = undefined
    goOn?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#gate.pass(() => this.#other?.accept(chunk, done))
  }

  override _final(done: () => void): void {
    this.#gate.pass(() => this.#other?.accept(null, done))
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#goOn?.()
    this.#gate.pass(() => this.#other?.destroy())
    done(error)
  }

  accept(chunk: Buffer | null, done: () => void): void {
    if (this.destroyed || this.readableEnded) done()
    else if (this.push(chunk) || chunk === null) done()
    else this.#goOn = done
  }
}

/** The host's end and the guest's. */
export function openPort(gate: Gate): [host: Duplex, guest: Duplex] {
  const host = new End(gate)
  const guest = new End(gate)
  host.meet(guest)
  guest.meet(host)
  return [host, guest]
}
