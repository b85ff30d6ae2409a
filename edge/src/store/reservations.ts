/** Room promised to sandboxes that their runner does not report yet. A row goes when the runner reports the sandbox, when it is released, or with its time. */

import { statement } from './sql.ts'

export interface Promised {
  readonly sandbox: string
  readonly runner: string
  readonly memMib: number
  readonly vcpus: number
  readonly until: number
}

export interface ReservationStore {
  /** Those that end first come first. */
  all(): Promised[]
  put(promise: Promised): void
  release(sandbox: string): void
}

type StoredRow = { sandbox: string; runner: string; mem_mib: number; vcpus: number; until: number }

export class ReservationTable implements ReservationStore {
  readonly #all
  readonly #put
  readonly #release

  constructor(sql: SqlStorage) {
    this.#all = statement<StoredRow>(
      sql,
      'SELECT sandbox, runner, mem_mib, vcpus, until FROM reservations ORDER BY until, rowid',
    )
    this.#put = statement<never, [string, string, number, number, number]>(
      sql,
      'INSERT OR REPLACE INTO reservations (sandbox, runner, mem_mib, vcpus, until) VALUES (?, ?, ?, ?, ?)',
    )
    this.#release = statement<never, [string]>(sql, 'DELETE FROM reservations WHERE sandbox = ?')
  }

  all(): Promised[] {
    return this.#all.all().map(({ mem_mib: memMib, ...row }) => ({ ...row, memMib }))
  }

  put({ sandbox, runner, memMib, vcpus, until }: Promised): void {
    this.#put.run(sandbox, runner, memMib, vcpus, until)
  }

  release(sandbox: string): void {
    this.#release.run(sandbox)
  }
}
