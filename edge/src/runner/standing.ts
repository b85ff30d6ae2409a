/** What a runner's object remembers of the runner beside its sandboxes, in its key-value storage. */

import type { DrainMode } from '../ports.ts'

/** The runner's registration was ended; `lost` says whether its sandboxes were given up. */
export interface Removed {
  readonly lost: boolean
}

export class Standing {
  readonly #kv: SyncKvStorage

  constructor(kv: SyncKvStorage) {
    this.#kv = kv
  }

  /** The last socket went then, and no status has come since. */
  get awaySince(): number | undefined {
    return this.#kv.get<number>('away')
  }

  /** The last status came then. */
  get confirmedAt(): number | undefined {
    return this.#kv.get<number>('confirmed')
  }

  /** What the operator asked for. */
  get drain(): DrainMode | undefined {
    return this.#kv.get<DrainMode>('drain')
  }

  get removed(): Removed | undefined {
    return this.#kv.get<Removed>('removed')
  }

  /** One that comes and goes without a word is away since it went first. */
  away(now: number): void {
    if (this.awaySince === undefined) this.#kv.put('away', now)
  }

  confirmed(now: number): void {
    this.#kv.put('confirmed', now)
    if (this.awaySince !== undefined) this.#kv.delete('away')
  }

  setDrain(mode: DrainMode | null): void {
    if (mode === null) this.#kv.delete('drain')
    else this.#kv.put('drain', mode)
  }

  setRemoved(removed: Removed): void {
    this.#kv.put('removed', removed)
  }
}
