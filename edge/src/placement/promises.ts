/**
 * Room promised to sandboxes that their runner does not report yet, in memory and written through: what an eviction forgets is read again.
 * All promises last equally long, so the oldest stand first.
 */

import type { Promised, ReservationStore } from '../store/reservations.ts'

export interface Sum {
  readonly memMib: number
  readonly vcpus: number
  readonly slots: number
}

/** Longer than the longest create; a promise that nobody kept or released ends by itself. */
export const promiseMs = 360_000

const none: Sum = { memMib: 0, vcpus: 0, slots: 0 }

export class Promises {
  readonly #store: ReservationStore
  readonly #bySandbox = new Map<string, Promised>()
  readonly #sums = new Map<string, Sum>()

  constructor(store: ReservationStore) {
    this.#store = store
    for (const one of store.all()) this.#keep(one)
  }

  put(promise: Promised): void {
    this.release(promise.sandbox)
    this.#keep(promise)
    this.#store.put(promise)
  }

  /** Ends the promise; that of a certain runner if one is named. */
  release(sandbox: string, runner?: string): void {
    const promise = this.#bySandbox.get(sandbox)
    if (promise === undefined || promise.runner !== (runner ?? promise.runner)) return
    this.#forget(promise)
    this.#store.release(sandbox)
  }

  /** Ends those whose time is over. */
  expire(now: number): void {
    for (const promise of this.#bySandbox.values()) {
      if (promise.until > now) return
      this.#forget(promise)
      this.#store.release(promise.sandbox)
    }
  }

  /** Ends all of one runner's. */
  drop(runner: string): void {
    for (const promise of [...this.#bySandbox.values()]) if (promise.runner === runner) this.release(promise.sandbox)
  }

  /** What is promised on a runner. */
  of(runner: string): Sum {
    return this.#sums.get(runner) ?? none
  }

  #keep(promise: Promised): void {
    this.#bySandbox.set(promise.sandbox, promise)
    this.#add(promise, 1)
  }

  #forget(promise: Promised): void {
    this.#bySandbox.delete(promise.sandbox)
    this.#add(promise, -1)
  }

  #add({ runner, memMib, vcpus }: Promised, sign: 1 | -1): void {
    const { memMib: mem, vcpus: cpus, slots } = this.of(runner)
    if (slots + sign === 0) this.#sums.delete(runner)
    else this.#sums.set(runner, { memMib: mem + sign * memMib, vcpus: cpus + sign * vcpus, slots: slots + sign })
  }
}
