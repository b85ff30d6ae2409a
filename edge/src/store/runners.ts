/** A region's runners: their token hash, what each last reported, and whether the operator empties it. */

import type { DrainMode, RunnerReport } from '../ports.ts'
import { statement } from './sql.ts'

/** A report as it is kept: how many sandboxes, not which. */
export type StoredReport = Omit<RunnerReport, 'sandboxes' | 'held'> & { readonly sandboxes: number }

export interface RunnerRow {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly hash: string
  readonly createdAt: string
  /** The tunnel that reported last; null once it is gone. */
  readonly tunnel: string | null
  readonly seenAt: number | null
  readonly report: StoredReport | null
  readonly drain: DrainMode | null
}

export interface RunnerStore {
  /** In the order in which they were enrolled. */
  all(): RunnerRow[]
  add(row: Pick<RunnerRow, 'id' | 'region' | 'name' | 'hash' | 'createdAt'>): void
  report(id: string, tunnel: string, at: number, report: StoredReport): void
  disconnect(id: string): void
  drain(id: string, mode: DrainMode | null): void
  remove(id: string): void
}

type StoredRow = {
  id: string
  region: string
  name: string
  hash: string
  created_at: string
  tunnel: string | null
  seen_at: number | null
  status: string | null
  drain: DrainMode | null
}

/** Of a runner that last reported before these were stated. */
const earlier = { total_mem_mib: 0, load: 0, warm: {}, generation: 1, sockets: 1 }

export class RunnerTable implements RunnerStore {
  readonly #insert
  readonly #all
  readonly #report
  readonly #disconnect
  readonly #drain
  readonly #remove

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, string]>(
      sql,
      'INSERT INTO runners (id, region, name, hash, created_at) VALUES (?, ?, ?, ?, ?)',
    )
    this.#all = statement<StoredRow>(
      sql,
      'SELECT id, region, name, hash, created_at, tunnel, seen_at, status, drain FROM runners ORDER BY created_at, id',
    )
    this.#report = statement<never, [string, number, string, string]>(
      sql,
      'UPDATE runners SET tunnel = ?, seen_at = ?, status = ? WHERE id = ?',
    )
    this.#disconnect = statement<never, [string]>(sql, 'UPDATE runners SET tunnel = NULL WHERE id = ?')
    this.#drain = statement<never, [string | null, string]>(sql, 'UPDATE runners SET drain = ? WHERE id = ?')
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM runners WHERE id = ?')
  }

  all(): RunnerRow[] {
    return this.#all.all().map(({ created_at, seen_at, status, ...row }) => ({
      ...row,
      createdAt: created_at,
      seenAt: seen_at,
      report: status === null ? null : { ...earlier, ...(JSON.parse(status) as StoredReport) },
    }))
  }

  add({ id, region, name, hash, createdAt }: Parameters<RunnerStore['add']>[0]): void {
    this.#insert.run(id, region, name, hash, createdAt)
  }

  report(id: string, tunnel: string, at: number, report: StoredReport): void {
    this.#report.run(tunnel, at, JSON.stringify(report), id)
  }

  disconnect(id: string): void {
    this.#disconnect.run(id)
  }

  drain(id: string, mode: DrainMode | null): void {
    this.#drain.run(mode, id)
  }

  remove(id: string): void {
    this.#remove.run(id)
  }
}
