/** The sandboxes that the edge has given to one runner. A row is unconfirmed until the runner has answered the create. */

import { statement } from './sql.ts'

export interface Assigned {
  readonly sandbox: string
  readonly generation: number
  readonly confirmed: boolean
  readonly since: number
  /** The runner's state of it that its object knows of; null if that is not certain, as while a call is under way that changes it. */
  readonly told: string | null
}

type AssignedRow = Omit<Assigned, 'confirmed'> & { confirmed: number }

const columns = 'sandbox, generation, confirmed, since, told'

export class AssignedTable {
  readonly #put
  readonly #confirm
  readonly #tell
  readonly #get
  readonly #all
  readonly #remove

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, number, number, number, string | null]>(
      sql,
      `INSERT OR REPLACE INTO assigned (${columns}) VALUES (?, ?, ?, ?, ?)`,
    )
    this.#confirm = statement<never, [number, string, string, number]>(
      sql,
      'UPDATE assigned SET confirmed = 1, since = ?, told = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#tell = statement<never, [string | null, string, number]>(
      sql,
      'UPDATE assigned SET told = ? WHERE sandbox = ? AND generation = ?',
    )
    this.#get = statement<AssignedRow, [string]>(sql, `SELECT ${columns} FROM assigned WHERE sandbox = ?`)
    this.#all = statement<AssignedRow>(sql, `SELECT ${columns} FROM assigned`)
    this.#remove = statement<never, [string, number]>(sql, 'DELETE FROM assigned WHERE sandbox = ? AND generation <= ?')
  }

  put(row: Assigned): void {
    this.#put.run(row.sandbox, row.generation, row.confirmed ? 1 : 0, row.since, row.told)
  }

  /** The runner has made it; one that was taken away meanwhile stays away. */
  confirm(sandbox: string, generation: number, told: string, now: number): void {
    this.#confirm.run(now, told, sandbox, generation)
  }

  tell(sandbox: string, generation: number, told: string | null): void {
    this.#tell.run(told, sandbox, generation)
  }

  get(sandbox: string): Assigned | undefined {
    const row = this.#get.first(sandbox)
    return row === undefined ? undefined : assignedOf(row)
  }

  all(): Assigned[] {
    return this.#all.all().map(assignedOf)
  }

  /** Removes this generation and older ones; a newer one stays. */
  remove(sandbox: string, generation: number): void {
    this.#remove.run(sandbox, generation)
  }
}

function assignedOf(row: AssignedRow): Assigned {
  return { ...row, confirmed: row.confirmed !== 0 }
}
