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
  readonly #slots: number
  readonly #taken = new Set<number>()
  readonly #memoryMib: number
  readonly #overheadMib: number
  #usedMib = 0

  /** `overheadMib` is what each machine takes beyond what its guest is given. */
  constructor({ slots, memoryMib, overheadMib = 0 }: { slots: number; memoryMib: number; overheadMib?: number }) {
    this.#slots = slots
    this.#memoryMib = memoryMib
    this.#overheadMib = overheadMib
  }

  get freeSlots(): number {
    return Math.max(0, this.#slots - this.#taken.size)
  }

  get freeMemoryMib(): number {
    return Math.max(0, this.#memoryMib - this.#usedMib)
  }

  /** Takes a slot and the memory of one machine, or throws `capacity` having taken neither. */
  reserve(memoryMib: number): Reservation {
    if (this.freeSlots === 0) throw full('it has no free slot')
    if (memoryMib + this.#overheadMib > this.freeMemoryMib) throw full('it has too little free memory')
    let slot = 0
    while (this.#taken.has(slot)) slot++
    return this.#take(slot, memoryMib)
  }

  /** Takes the place of a machine that already runs, even beyond the limits, which may have been lowered since; undefined if the slot is taken. */
  claim(slot: number, memoryMib: number): Reservation | undefined {
    return this.#taken.has(slot) ? undefined : this.#take(slot, memoryMib)
  }

  #take(slot: number, guestMib: number): Reservation {
    const memoryMib = guestMib + this.#overheadMib
    this.#taken.add(slot)
    this.#usedMib += memoryMib
    let held = true
    return {
      slot,
      release: () => {
        if (!held) return
        held = false
        this.#taken.delete(slot)
        this.#usedMib -= memoryMib
      },
    }
  }
}

function full(why: string): AppError {
  return new AppError('capacity', `cannot create the sandbox on this runner: ${why}`)
}
