/** Room promised to sandboxes that their runner does not report yet. A row goes when the runner reports the sandbox, when it is released, or with its time. */

import { statement } from './sql.ts'

export interface Reserved {
  readonly runner: string
  readonly memMib: number
  readonly slots: number
}

export class ReservationTable {
  readonly #put
  readonly #release
  readonly #expire
  readonly #sums

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, string, number, number]>(
      sql,
      'INSERT OR REPLACE INTO reservations (sandbox, runner, mem_mib, until) VALUES (?, ?, ?, ?)',
    )
    this.#release = statement<never, [string]>(sql, 'DELETE FROM reservations WHERE sandbox = ?')
    this.#expire = statement<never, [number]>(sql, 'DELETE FROM reservations WHERE until <= ?')
    this.#sums = statement<{ runner: string; mem: number; slots: number }>(
      sql,
      'SELECT runner, SUM(mem_mib) AS mem, COUNT(*) AS slots FROM reservations GROUP BY runner',
    )
  }

  put(sandbox: string, runner: string, memMib: number, until: number): void {
    this.#put.run(sandbox, runner, memMib, until)
  }

  release(sandbox: string): void {
    this.#release.run(sandbox)
  }

  expire(now: number): void {
    this.#expire.run(now)
  }

  byRunner(): Map<string, Reserved> {
    return new Map(
      this.#sums.all().map((row) => [row.runner, { runner: row.runner, memMib: row.mem, slots: row.slots }]),
    )
  }
}
