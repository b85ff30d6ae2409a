/** The two tables of a region in memory, which count what a Durable Object would write: the placement under test is the real one. */

import type { Promised, ReservationStore } from '../../edge/src/store/reservations.ts'
import type { RunnerRow, RunnerStore } from '../../edge/src/store/runners.ts'

/** Rows that are there, and rows written so far, deletions among them. */
export interface TableCount {
  readonly rows: number
  readonly written: number
}

export class CountedRunners implements RunnerStore {
  readonly #ids = new Set<string>()
  #written = 0

  get count(): TableCount {
    return { rows: this.#ids.size, written: this.#written }
  }

  all(): RunnerRow[] {
    return []
  }

  add({ id }: Parameters<RunnerStore['add']>[0]): void {
    this.#ids.add(id)
    this.#written++
  }

  report(): void {
    this.#written++
  }

  disconnect(): void {
    this.#written++
  }

  drain(): void {
    this.#written++
  }

  remove(id: string): void {
    this.#ids.delete(id)
    this.#written++
  }
}

export class CountedPromises implements ReservationStore {
  readonly #rows = new Map<string, string>()
  #written = 0
  #most = 0

  get count(): TableCount & { readonly most: number } {
    return { rows: this.#rows.size, written: this.#written, most: this.#most }
  }

  /** How many there are on these runners. */
  on(runners: ReadonlySet<string>): number {
    return [...this.#rows.values()].filter((runner) => runners.has(runner)).length
  }

  all(): Promised[] {
    return []
  }

  put({ sandbox, runner }: Promised): void {
    this.#rows.set(sandbox, runner)
    this.#most = Math.max(this.#most, this.#rows.size)
    this.#written++
  }

  release(sandbox: string): void {
    this.#rows.delete(sandbox)
    this.#written++
  }
}
