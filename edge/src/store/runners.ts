/** A region's runners: their token hash, and what each last reported. */

import type { RunnerReport } from '../ports.ts'
import { statement } from './sql.ts'

/** A report as it is kept: how many sandboxes, not which. */
export type StoredReport = Omit<RunnerReport, 'sandboxes'> & { readonly sandboxes: number }

export interface RunnerRow {
  readonly id: string
  readonly region: string
  readonly name: string
  readonly createdAt: string
  /** The tunnel that reported last; null once it is gone. */
  readonly tunnel: string | null
  readonly seenAt: number | null
  readonly report: StoredReport | null
}

type StoredRow = {
  id: string
  region: string
  name: string
  created_at: string
  tunnel: string | null
  seen_at: number | null
  status: string | null
}

export class RunnerTable {
  readonly #insert
  readonly #hash
  readonly #all
  readonly #report
  readonly #disconnect

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, string]>(
      sql,
      'INSERT INTO runners (id, region, name, hash, created_at) VALUES (?, ?, ?, ?, ?)',
    )
    this.#hash = statement<{ hash: string }, [string]>(sql, 'SELECT hash FROM runners WHERE id = ?')
    this.#all = statement<StoredRow>(
      sql,
      'SELECT id, region, name, created_at, tunnel, seen_at, status FROM runners ORDER BY created_at, id',
    )
    this.#report = statement<never, [string, number, string, string, number]>(
      sql,
      'UPDATE runners SET tunnel = ?, seen_at = ?, status = ? WHERE id = ? AND (seen_at IS NULL OR seen_at <= ?)',
    )
    this.#disconnect = statement<never, [string, string]>(
      sql,
      'UPDATE runners SET tunnel = NULL WHERE id = ? AND tunnel = ?',
    )
  }

  add(id: string, region: string, name: string, hash: string, at: string): void {
    this.#insert.run(id, region, name, hash, at)
  }

  hash(id: string): string | undefined {
    return this.#hash.first(id)?.hash
  }

  all(): RunnerRow[] {
    return this.#all.all().map(({ created_at, seen_at, status, ...row }) => ({
      ...row,
      createdAt: created_at,
      seenAt: seen_at,
      report: status === null ? null : (JSON.parse(status) as StoredReport),
    }))
  }

  /** A report that was overtaken by a later one changes nothing. */
  report(id: string, tunnel: string, at: number, report: RunnerReport): void {
    const kept: StoredReport = { ...report, sandboxes: report.sandboxes.length }
    this.#report.run(tunnel, at, JSON.stringify(kept), id, at)
  }

  /** Only the tunnel that reported last can take the runner away. */
  disconnect(id: string, tunnel: string): void {
    this.#disconnect.run(id, tunnel)
  }
}
