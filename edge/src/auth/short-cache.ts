/** Values that an isolate may reuse for a stated time without asking their owner again. Bounded: the oldest entry makes room. */

import type { Clock } from '@portico/shared/clock'

export class ShortCache<Value> {
  readonly #clock: Clock
  readonly #lifeMs: number
  readonly #most: number
  readonly #entries = new Map<string, { value: Value; until: number }>()

  constructor(clock: Clock, lifeMs: number, most = 10_000) {
    this.#clock = clock
    this.#lifeMs = lifeMs
    this.#most = most
  }

  /** The value, unless its time is over. */
  get(key: string): Value | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.until > this.#clock.now()) return entry.value
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, value: Value): void {
    this.#entries.delete(key)
    if (this.#entries.size >= this.#most) {
      const oldest = this.#entries.keys().next().value
      if (oldest !== undefined) this.#entries.delete(oldest)
    }
    this.#entries.set(key, { value, until: this.#clock.now() + this.#lifeMs })
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  get size(): number {
    return this.#entries.size
  }
}
