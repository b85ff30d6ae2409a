/**
 * Where machines come from: one that stands ready, or else a new one of the template. It owns the machines that stand ready, which hold places on the
 * runner but give way to whoever needs the room.
 *
 *   take ──▶ ready one? ──yes──▶ resumed, handed out ─┐
 *                 └──no──▶ template, restore ─────────┴──▶ a moment later: refill, one at a time, while nobody waits
 *
 * A template is hot for some minutes after it was used; what stands ready of one that is not is given up.
 */

import type { Clock } from '@portico/shared/clock'
import { deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Capacity, Reservation, Room } from '../capacity.ts'
import type { Logger } from '../log.ts'
import { type BootedVm, type PhaseContext, PreparedVm } from '../sandbox/phases.ts'
import type { MachineNeeds } from '../template/key.ts'
import { prime, primeLimitMs } from '../template/prime.ts'
import type { Reserve, Templates } from '../template/templates.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { MachineState } from '../vm/machine-state.ts'
import { PoolMachine } from './pool-machine.ts'

export interface MachineSourceOptions {
  readonly context: PhaseContext
  readonly capacity: Capacity
  readonly templates: Templates
  /** How many machines stand ready for each hot template; 0 for none. */
  readonly poolSize: number
  readonly clock: Clock
  readonly log: Logger
  /** Another number of machines stands ready. */
  readonly onReady?: () => void
}

/** A running machine that is nobody's yet, and its place, which is the taker's from here on. */
export interface Taken {
  readonly booted: BootedVm
  readonly place: Reservation
  readonly from: 'pool' | 'template'
}

/** A machine that waits before it looks at its disks. */
export interface Bare {
  readonly state: MachineState
  /** Told whether a machine of it came up. One of which none ever did is made anew the next time. */
  came(up: boolean): Promise<void>
}

/** Not at once: who just got a machine is about to use it. */
export const refillAfterMs = 300
/** After one that failed. */
export const refillAgainMs = 10_000
/** Measured: the fourth is no slower than the tenth. */
const warmRounds = 4
/** Its disk nobody ever sees. */
const bareDiskMib = 64
const bareNeeds = ({ image, vcpus, memoryMib }: Omit<MachineNeeds, 'diskMib'>): MachineNeeds => ({
  image,
  vcpus,
  memoryMib,
  diskMib: bareDiskMib,
  waits: true,
})
export const hotMs = 10 * 60_000

interface Shelf {
  readonly key: string
  readonly needs: MachineNeeds
  readonly machines: PoolMachine[]
  cool: () => void
}

interface Filling {
  readonly abort: AbortController
  readonly over: Promise<void>
}

export class MachineSource {
  readonly #options: MachineSourceOptions
  readonly #shelves = new Map<string, Shelf>()
  /** The places that are the pool's, with what they take. */
  readonly #held = new Map<Reservation, Room>()
  readonly #givingUp = new Set<Promise<void>>()
  #waiting = 0
  #filling: Filling | undefined
  #cancelRefill: () => void = () => undefined
  #drained = false

  constructor(options: MachineSourceOptions) {
    this.#options = options
  }

  /** What sandboxes can have: what stands ready gives way to them. */
  get freeMemoryMib(): number {
    return this.#options.capacity.freeMemoryMib + sum([...this.#held.values()].map(({ memoryMib }) => memoryMib))
  }

  get freeVcpus(): number {
    return this.#options.capacity.freeVcpus + sum([...this.#held.values()].map(({ vcpus }) => vcpus))
  }

  get freeSlots(): number {
    return this.#options.capacity.freeSlots + this.#held.size
  }

  /** How many machines stand ready, of one template or of all. */
  ready(key?: string): number {
    const shelves = [...this.#shelves.values()].filter((shelf) => key === undefined || shelf.key === key)
    return sum(shelves.map(({ machines }) => machines.length))
  }

  /** How many machines stand ready, by image; images without any are not there. */
  get readyByImage(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>()
    for (const { needs, machines } of this.#shelves.values())
      if (machines.length > 0) counts.set(needs.image, (counts.get(needs.image) ?? 0) + machines.length)
    return counts
  }

  /** A machine that runs. Rejects having taken nothing. */
  async take(needs: MachineNeeds, signal: AbortSignal): Promise<Taken> {
    signal.throwIfAborted()
    const key = this.#options.templates.keyOf(needs)
    this.#waiting++
    try {
      return (await this.#takeReady(key, needs)) ?? (await this.#takeNew(needs, signal))
    } finally {
      this.#waiting--
      this.#warm(key, needs)
      this.#refillIn(refillAfterMs)
    }
  }

  /** The template of machines that wait for their disks, built if need be. */
  async bare({ image, vcpus, memoryMib }: MachineNeeds, signal: AbortSignal): Promise<Bare> {
    const { templates } = this.#options
    const { key, state } = await templates.get(bareNeeds({ image, vcpus, memoryMib }), this.reserve, signal)
    const came = async (up: boolean) => {
      if (up) templates.proven(key)
      else await templates.check(key)
    }
    return { state, came }
  }

  /** Somebody may want that template soon: it is built beside everything else if there is room, where anything is kept ready at all. */
  expectBare(needs: Omit<MachineNeeds, 'diskMib'>): void {
    const { templates, capacity, poolSize, log } = this.#options
    if (poolSize === 0 || this.#drained) return
    templates
      .get(bareNeeds(needs), async (room) => capacity.reserve(room), new AbortController().signal)
      .catch((error: unknown) => log.warn({ error }, 'pool.bare'))
  }

  /** A place for a machine that comes from elsewhere. What stands ready is given up for it, the oldest first. */
  readonly reserve: Reserve = async (room, signal) => {
    const { capacity } = this.#options
    for (;;) {
      signal.throwIfAborted()
      try {
        return capacity.reserve(room)
      } catch (error) {
        // Not a machine is given up for what will not fit in any case.
        const never = room.memoryMib > this.freeMemoryMib || room.vcpus > this.freeVcpus
        if (never || !(await this.#makeRoom())) throw error
      }
    }
  }

  /** Throws `capacity` where `reserve` would now. What stands ready counts as free, and stays. */
  mustFit(room: Room): void {
    this.#options.capacity.mustFit(room, [...this.#held.values()])
  }

  /** Other images are here: what stands ready of one that is not any more keeps its files, so it is given up. */
  imagesChanged(isHere: (image: string) => boolean): void {
    for (const shelf of [...this.#shelves.values()]) if (!isHere(shelf.needs.image)) this.#drop(shelf)
  }

  /** Gives up what stands ready, and lets nothing stand ready any more. */
  async drain(): Promise<void> {
    this.#drained = true
    this.#cancelRefill()
    for (const shelf of this.#shelves.values()) shelf.cool()
    await this.#stopFilling()
    while (await this.#makeRoom()) {
      // One after the other.
    }
  }

  /** Gives everything back, and ends the templates that are being built. */
  async close(): Promise<void> {
    await this.drain()
    await this.#options.templates.close()
  }

  async #takeReady(key: string, needs: MachineNeeds): Promise<Taken | undefined> {
    const shelf = this.#shelves.get(shelfName(key, needs))
    for (let machine = shelf?.machines.shift(); machine; machine = shelf?.machines.shift()) {
      const { booted, place } = machine
      this.#held.delete(place)
      this.#options.onReady?.()
      try {
        await booted.resume()
        return { booted, place, from: 'pool' }
      } catch (error) {
        this.#options.log.warn({ machine: booted.vm.id, error }, 'pool.lost')
        await this.#giveUp(machine)
      }
    }
    return undefined
  }

  async #takeNew(needs: MachineNeeds, signal: AbortSignal, again = true): Promise<Taken> {
    const { templates } = this.#options
    const template = await templates.get(needs, this.reserve, signal)
    const place = await this.reserve(needs, signal)
    try {
      const booted = await this.#restore(needs, place, template.state, signal)
      templates.proven(template.key)
      return { booted, place, from: 'template' }
    } catch (error) {
      place.release()
      if (signal.aborted) throw signal.reason
      if (!again || (await templates.check(template.key))) throw error
    }
    return await this.#takeNew(needs, signal, false)
  }

  async #restore(
    needs: MachineNeeds,
    { slot }: Reservation,
    state: Parameters<PreparedVm['restore']>[0],
    signal: AbortSignal,
  ): Promise<BootedVm> {
    const spec = { ...needs, id: newMachineId(), slot }
    return await new PreparedVm(this.#options.context, spec).restore(state, { again: true }, signal)
  }

  /** The shelf of a template that was just used. */
  #warm(key: string, needs: MachineNeeds): void {
    const { poolSize, clock } = this.#options
    if (poolSize === 0 || this.#drained) return
    const name = shelfName(key, needs)
    const shelf = this.#shelves.get(name) ?? { key, needs, machines: [], cool: () => undefined }
    shelf.cool()
    shelf.cool = clock.after(hotMs, () => this.#drop(shelf))
    this.#shelves.set(name, shelf)
  }

  #drop(shelf: Shelf): void {
    shelf.cool()
    this.#shelves.delete(shelfName(shelf.key, shelf.needs))
    for (const machine of shelf.machines.splice(0)) void this.#giveUp(machine)
  }

  /** After one could not be filled: the others first, and none at all of an image that is gone. */
  #putBack(shelf: Shelf): void {
    const name = shelfName(shelf.key, shelf.needs)
    if (this.#shelves.get(name) !== shelf) return
    if (!this.#options.context.driver.images.get(shelf.needs.image)) {
      this.#drop(shelf)
      return
    }
    this.#shelves.delete(name)
    this.#shelves.set(name, shelf)
  }

  #refillIn(ms: number): void {
    this.#cancelRefill()
    if (this.#drained || this.#options.poolSize === 0) return
    this.#cancelRefill = this.#options.clock.after(ms, () => this.#refill())
  }

  /** Begins to make one machine, if one is missing and there is room; its end looks again. */
  #refill(): void {
    const { capacity, poolSize } = this.#options
    if (this.#filling || this.#waiting > 0 || this.#drained) return
    const shelf = [...this.#shelves.values()].find((one) => one.machines.length < poolSize && capacity.fits(one.needs))
    if (!shelf) return
    const abort = new AbortController()
    const over = this.#fill(shelf, abort.signal).then((filled) => {
      this.#filling = undefined
      if (filled) this.#refill()
      else this.#refillIn(refillAgainMs)
    })
    this.#filling = { abort, over }
  }

  /** Resolves with whether a machine stands ready now. */
  async #fill(shelf: Shelf, signal: AbortSignal): Promise<boolean> {
    const { capacity, templates, log, clock } = this.#options
    const { needs } = shelf
    let place: Reservation | undefined
    try {
      place = capacity.reserve(needs)
      this.#held.set(place, needs)
      const { state } = await templates.get(needs, async (room) => capacity.reserve(room), signal)
      const machine = new PoolMachine(await this.#restore(needs, place, state, signal), place)
      await this.#shelve(shelf, machine, signal)
      return true
    } catch (error) {
      if (!signal.aborted) log.warn({ image: needs.image, error, at: clock.now() }, 'pool.failed')
      if (place) this.#held.delete(place)
      place?.release()
      this.#putBack(shelf)
      return false
    }
  }

  /** Primes, pauses and puts it there; a machine that fails is stopped. */
  async #shelve(shelf: Shelf, machine: PoolMachine, signal: AbortSignal): Promise<void> {
    try {
      using limit = deadline(primeLimitMs, 'make a machine ready', signal)
      await prime(machine.booted, { clock: this.#options.clock, rounds: warmRounds, signal: limit })
      await machine.booted.pause()
      signal.throwIfAborted()
      if (this.#shelves.get(shelfName(shelf.key, shelf.needs)) !== shelf)
        throw new AppError('cancelled', 'cannot make a machine ready: nobody needs it any more')
    } catch (error) {
      await machine.booted.unwind()
      throw error
    }
    shelf.machines.push(machine)
    this.#options.onReady?.()
    const { vm, channel } = machine.booted
    const replace = () => {
      const index = shelf.machines.indexOf(machine)
      if (index < 0) return
      shelf.machines.splice(index, 1)
      void this.#giveUp(machine)
      this.#refillIn(refillAfterMs)
    }
    void vm.ended.then(replace)
    void channel.closed.then(replace)
  }

  /** Gives one machine up, or the one that is being made; resolves with whether there was any. */
  async #makeRoom(): Promise<boolean> {
    for (const { machines } of this.#shelves.values()) {
      const machine = machines.shift()
      if (!machine) continue
      await this.#giveUp(machine)
      return true
    }
    if (this.#filling) await this.#stopFilling()
    else if (this.#givingUp.size > 0) await Promise.race(this.#givingUp)
    else return false
    return true
  }

  async #stopFilling(): Promise<void> {
    this.#filling?.abort.abort(new AppError('cancelled', 'cannot make a machine ready: its place is needed'))
    await this.#filling?.over
  }

  #giveUp(machine: PoolMachine): Promise<void> {
    this.#options.onReady?.()
    const given = machine
      .giveUp()
      .catch((error: unknown) => this.#options.log.error({ error }, 'pool.free'))
      .then(() => {
        this.#held.delete(machine.place)
        this.#givingUp.delete(given)
      })
    this.#givingUp.add(given)
    return given
  }
}

/**
 * A machine that stands ready has the disk that its taker wants, which may be larger than the template's, and is of the image that it names: images with
 * the same files may differ in what their programs are told.
 */
function shelfName(key: string, { diskMib, image }: MachineNeeds): string {
  return `${key}-${diskMib}-${image}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0)
}
