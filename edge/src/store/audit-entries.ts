/** The lines of one sandbox's audit log. One without a seal has its place already; the seal follows from what stands before it. */

import { statement } from './sql.ts'

export type EntryRow = {
  seq: number
  at: number
  event: string
  data: string
  hmac: string | null
}

/** The last line: its number, and how many bytes all have together. */
export interface Tail {
  readonly seq: number
  readonly total: number
  readonly event: string
  readonly hmac: string | null
}

export class AuditEntries {
  readonly #insert
  readonly #tail
  readonly #full
  readonly #unsealed
  readonly #seal
  readonly #get
  readonly #page

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [number, number, string, string, number]>(
      sql,
      'INSERT INTO audit (seq, at, event, data, total) VALUES (?, ?, ?, ?, ?)',
    )
    this.#tail = statement<{ seq: number; total: number; event: string; hmac: string | null }>(
      sql,
      'SELECT seq, total, event, hmac FROM audit ORDER BY seq DESC LIMIT 1',
    )
    this.#full = statement<{ seq: number }>(sql, "SELECT seq FROM audit WHERE event = 'audit.full' LIMIT 1")
    this.#unsealed = statement<EntryRow, [number]>(
      sql,
      'SELECT seq, at, event, data, hmac FROM audit WHERE hmac IS NULL ORDER BY seq LIMIT ?',
    )
    this.#seal = statement<never, [string, number]>(sql, 'UPDATE audit SET hmac = ? WHERE seq = ? AND hmac IS NULL')
    this.#get = statement<{ hmac: string | null }, [number]>(sql, 'SELECT hmac FROM audit WHERE seq = ?')
    this.#page = statement<EntryRow, [number, number]>(
      sql,
      'SELECT seq, at, event, data, hmac FROM audit WHERE seq >= ? AND hmac IS NOT NULL ORDER BY seq LIMIT ?',
    )
  }

  add(seq: number, at: number, event: string, data: string, total: number): void {
    this.#insert.run(seq, at, event, data, total)
  }

  tail(): Tail | undefined {
    return this.#tail.first()
  }

  /** Whether a line says that there was no room. */
  get saysFull(): boolean {
    return this.#full.first() !== undefined
  }

  /** Oldest first. */
  unsealed(limit: number): EntryRow[] {
    return this.#unsealed.all(limit)
  }

  seal(seq: number, hmac: string): void {
    this.#seal.run(hmac, seq)
  }

  hmac(seq: number): string | null {
    return this.#get.first(seq)?.hmac ?? null
  }

  /** Sealed lines from this one on. */
  page(from: number, limit: number): EntryRow[] {
    return this.#page.all(from, limit)
  }
}
