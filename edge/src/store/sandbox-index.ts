/** An account's sandboxes: a copy of each record, kept up to date by the sandbox's own object. Destroyed ones stay, with their usage; one that never ran has none. */

import type { RunRecord } from '@portico/shared/api'
import type { IndexEntry } from '../ports.ts'
import { statement } from './sql.ts'

const listed = 1000
/** What records say that were written before sandboxes could sleep. */
const oldDefaults = { auto_resume: false, on_idle: 'destroy' } as const

export class SandboxIndex {
  readonly #put
  readonly #active

  constructor(sql: SqlStorage) {
    this.#put = statement<never, [string, string, string, number, string, number, number | null, string | null]>(
      sql,
      `INSERT INTO sandboxes (id, region, state, version, record, created_at, ended_at, usage) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET state = excluded.state, version = excluded.version, record = excluded.record,
         ended_at = excluded.ended_at, usage = excluded.usage
       WHERE excluded.version > sandboxes.version`,
    )
    this.#active = statement<{ record: string }, [string, number]>(
      sql,
      `SELECT record FROM sandboxes WHERE region = ? AND ended_at IS NULL AND state <> 'destroying'
       ORDER BY created_at DESC, id DESC LIMIT ?`,
    )
  }

  /** An older version than the one held changes nothing. */
  put({ version, state, record, createdAt, endedAt, usage }: IndexEntry): void {
    const text = usage === null ? null : JSON.stringify(usage)
    this.#put.run(record.id, record.region, state, version, JSON.stringify(record), createdAt, endedAt, text)
  }

  active(region: string): RunRecord[] {
    return this.#active.all(region, listed).map((row) => ({ ...oldDefaults, ...(JSON.parse(row.record) as RunRecord) }))
  }
}
