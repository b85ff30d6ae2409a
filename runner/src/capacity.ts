/**
 * What the runner may still give away. A slot, memory and vCPUs are taken in one step before anything is started, so two creates at once cannot both
 * take the last. vCPUs are more than there are processors, which sandboxes share: the limit is how many may share one.
 */

import { AppError } from '@portico/shared/errors'

/** What a machine takes. */
export interface Room {
  readonly memoryMib: number
  readonly vcpus: number
}

/** A place on this runner. */
export interface Reservation {
  /** The lowest number that nobody else has. */
  readonly slot: number
  /** Gives the place back. Repeating it does nothing. */
  release(): void
}

export interface CapacityOptions extends Room {
  readonly slots: number
  /** What each machine takes beyond what its guest is given. */
  readonly overheadMib?: number
  /** Said when all slots are taken. */
  readonly fullSlots?: string
}

export class Capacity {
  readonly #slots: number
  readonly #taken = new Set<number>()
  readonly #memoryMib: number
  readonly #overheadMib: number
  readonly #vcpus: number
  readonly #fullSlots: string
  #usedMib = 0
  #usedVcpus = 0

  constructor({ slots, memoryMib, vcpus, overheadMib = 0, fullSlots = 'it has no free slot' }: CapacityOptions) {
    this.#slots = slots
    this.#fullSlots = fullSlots
    this.#memoryMib = memoryMib
    this.#vcpus = vcpus
    this.#overheadMib = overheadMib
  }

  get freeSlots(): number {
    return Math.max(0, this.#slots - this.#taken.size)
  }

  get freeMemoryMib(): number {
    return Math.max(0, this.#memoryMib - this.#usedMib)
  }

  get freeVcpus(): number {
    return Math.max(0, this.#vcpus - this.#usedVcpus)
  }

  /** Takes a slot and the room of one machine, or throws `capacity` having taken nothing. */
  reserve(room: Room): Reservation {
    this.mustFit(room)
    let slot = 0
    while (this.#taken.has(slot)) slot++
    return this.#take(slot, room)
  }

  /** Throws what `reserve` would, once the places of `back` were given back. */
  mustFit({ memoryMib, vcpus }: Room, back: readonly Room[] = []): void {
    const memory = this.freeMemoryMib + back.reduce((sum, one) => sum + one.memoryMib + this.#overheadMib, 0)
    if (this.freeSlots + back.length === 0) throw full(this.#fullSlots)
    if (memoryMib + this.#overheadMib > memory) throw full('it has too little free memory')
    if (vcpus > this.freeVcpus + back.reduce((sum, one) => sum + one.vcpus, 0)) throw full('it has too few free vCPUs')
  }

  /** Whether `reserve` would work now. */
  fits({ memoryMib, vcpus }: Room): boolean {
    return this.freeSlots > 0 && memoryMib + this.#overheadMib <= this.freeMemoryMib && vcpus <= this.freeVcpus
  }

  /** Takes the place of a machine that already runs, even beyond the limits, which may have been lowered since; undefined if the slot is taken. */
  claim(slot: number, room: Room): Reservation | undefined {
    return this.#taken.has(slot) ? undefined : this.#take(slot, room)
  }

  #take(slot: number, room: Room): Reservation {
    const memoryMib = room.memoryMib + this.#overheadMib
    const { vcpus } = room
    this.#taken.add(slot)
    this.#usedMib += memoryMib
    this.#usedVcpus += vcpus
    let held = true
    return {
      slot,
      release: () => {
        if (!held) return
        held = false
        this.#taken.delete(slot)
        this.#usedMib -= memoryMib
        this.#usedVcpus -= vcpus
      },
    }
  }
}

function full(why: string): AppError {
  return new AppError('capacity', `cannot create the sandbox on this runner: ${why}`)
}
