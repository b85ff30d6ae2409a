/** What the runner may still give away. Slots and memory are taken in one step before anything is started, so two creates at once cannot both take the last. */

import { AppError } from '@portico/shared/errors'

/** A place on this runner. */
export interface Reservation {
  /** The lowest number that nobody else has. */
  readonly slot: number
  /** Gives the place back. Repeating it does nothing. */
  release(): void
}

export class Capacity {
  readonly #slots: boolean[]
  readonly #memoryMib: number
  #usedMib = 0

  constructor(limits: { slots: number; memoryMib: number }) {
    this.#slots = new Array<boolean>(limits.slots).fill(false)
    this.#memoryMib = limits.memoryMib
  }

  get freeSlots(): number {
    return this.#slots.filter((taken) => !taken).length
  }

  get freeMemoryMib(): number {
    return this.#memoryMib - this.#usedMib
  }

  /** Takes a slot and memory, or throws `capacity` having taken neither. */
  reserve(memoryMib: number): Reservation {
    const slot = this.#slots.indexOf(false)
    if (slot < 0) throw full('it has no free slot')
    if (memoryMib > this.freeMemoryMib) throw full('it has too little free memory')
    this.#slots[slot] = true
    this.#usedMib += memoryMib
    let held = true
    return {
      slot,
      release: () => {
        if (!held) return
        held = false
        this.#slots[slot] = false
        this.#usedMib -= memoryMib
      },
    }
  }
}

function full(why: string): AppError {
  return new AppError('capacity', `cannot create the sandbox on this runner: ${why}`)
}
