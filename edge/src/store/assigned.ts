/** The sandboxes that the edge has given to one runner. A row is unconfirmed until the runner has answered the create. */

import { statement } from './sql.ts'

export interface Assigned {
  readonly sandbox: string
  readonly generation: number
  readonly confirmed: boolean
  readonly since: number
}

type AssignedRow = { sandbox: string; generation: number; confirmed: number; since: number }

export class AssignedTable {
  readonly #put
  readonly #all
  readonly #remove

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, number, number, number]>(
      sql,
      'INSERT OR REPLACE INTO assigned (sandbox, generation, confirmed, since) VALUES (?, ?, ?, ?)',
    )
    this.#all = statement<AssignedRow>(sql, 'SELECT sandbox, generation, confirmed, since FROM assigned')
    this.#remove = statement<never, [string, number]>(sql, 'DELETE FROM assigned WHERE sandbox = ? AND generation <= ?')
  }

  put(row: Assigned): void {
    this.#put.run(row.sandbox, row.generation, row.confirmed ? 1 : 0, row.since)
  }

  all(): Assigned[] {
    return this.#all.all().map((row) => ({ ...row, confirmed: row.confirmed !== 0 }))
  }

  /** Removes this generation and older ones; a newer one stays. */
  remove(sandbox: string, generation: number): void {
    this.#remove.run(sandbox, generation)
  }
}
