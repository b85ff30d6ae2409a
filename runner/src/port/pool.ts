/**
 * Connections to the servers in one sandbox that wait for their next request. What is lent is its borrower's; what waits is the pool's, which closes it
 * after a moment, at its server's end, or when it says something unasked.
 *
 *   lent ──giveBack()──▶ waiting ──borrow()──▶ lent                 lent ──close()──▶ closing ──server's end, or a moment later──▶ gone
 *                           └── idle, full, ended ──▶ closing ──▶ gone
 */

import type { Duplex } from 'node:stream'
import type { Clock } from '@portico/shared/clock'

/** Shorter than any common server keeps a connection open. */
const idleMs = 1000
/** How long a server may take to close a connection that this side has ended. */
const closingMs = 1000
/** Of one sandbox, so that its channel has streams left for everything else. */
const maxWaiting = 128

/** A connection while it is lent. */
export interface Borrowed {
  readonly duplex: Duplex
  /** It has carried a request before: its server may have closed it meanwhile. */
  readonly reused: boolean
  /** Its request is over, and another one may follow. */
  readonly giveBack: () => void
  /** Its request is over, and none follows. Repeating it does nothing. */
  close(): void
}

export interface Lending {
  /** Makes a connection. */
  readonly connect: () => Promise<Duplex>
  /** Called once, when it is given back or closed, or no connection came to be. */
  readonly onOver: () => void
}

interface Waiting {
  readonly duplex: Duplex
  readonly stop: () => void
}

export class PortPool {
  readonly #clock: Clock
  /** By port, the one that waits longest first. */
  readonly #waiting = new Map<number, Waiting[]>()
  #count = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many wait. */
  get waiting(): number {
    return this.#count
  }

  /** A connection that waits, unless `fresh`; else a new one. */
  async borrow(port: number, fresh: boolean, lending: Lending): Promise<Borrowed> {
    const kept = fresh ? undefined : this.#take(port)
    try {
      return this.#lend(port, kept ?? (await lending.connect()), kept !== undefined, lending.onOver)
    } catch (error) {
      lending.onOver()
      throw error
    }
  }

  #lend(port: number, duplex: Duplex, reused: boolean, onOver: () => void): Borrowed {
    let lent = true
    const end = (then: () => void) => () => {
      if (!lent) return
      lent = false
      then()
      onOver()
    }
    return {
      duplex,
      reused,
      giveBack: end(() => this.#keep(port, duplex)),
      close: end(() => this.#close(duplex)),
    }
  }

  #take(port: number): Duplex | undefined {
    const list = this.#waiting.get(port)
    for (let last = list?.at(-1); last; last = list?.at(-1)) {
      last.stop()
      if (!last.duplex.destroyed && !last.duplex.readableEnded) return last.duplex
    }
    return undefined
  }

  #keep(port: number, duplex: Duplex): void {
    const over = duplex.destroyed || duplex.readableEnded || !duplex.writable
    if (over || this.#count >= maxWaiting) {
      this.#close(duplex)
      return
    }
    const list = this.#waiting.get(port) ?? []
    if (list.length === 0) this.#waiting.set(port, list)
    const leave = () => {
      stop()
      this.#close(duplex)
    }
    const cancel = this.#clock.after(idleMs, leave)
    const stop = () => {
      const at = list.indexOf(waiting)
      if (at < 0) return
      list.splice(at, 1)
      this.#count--
      if (list.length === 0) this.#waiting.delete(port)
      cancel()
      for (const event of endings) duplex.off(event, leave)
    }
    const waiting = { duplex, stop }
    for (const event of endings) duplex.on(event, leave)
    list.push(waiting)
    this.#count++
  }

  /** Ends it in order, so that its server sees an end and no fault; by force if that takes too long. */
  #close(duplex: Duplex): void {
    if (duplex.destroyed) return
    const cancel = this.#clock.after(closingMs, () => void duplex.destroy())
    duplex.once('close', cancel)
    duplex.end()
    duplex.resume()
  }
}

const endings = ['data', 'end', 'close'] as const
