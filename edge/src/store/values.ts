/**
 * The values of one sandbox's store, in its object's database. What has expired counts for nothing and is read by nobody; it is removed by the next change.
 * How many keys and bytes there are is kept beside them, so that no change has to count. Whoever changes does so within one transaction.
 */

import type { StoreKeys } from '@portico/shared/api'
import type { StoredValue, StoreListInput, StoreRow } from '../ports.ts'
import { statement } from './sql.ts'

type ValueRow = { key: string; json: string; expires_at: number | null }

export class Values {
  readonly #get
  readonly #put
  readonly #remove
  readonly #sizeOf
  readonly #keys
  readonly #rows
  readonly #expired
  readonly #removeExpired
  readonly #total
  readonly #count
  readonly #clear

  constructor(sql: SqlStorage) {
    const isLive = '(expires_at IS NULL OR expires_at > ?)'
    this.#get = statement<ValueRow, [string, number]>(
      sql,
      `SELECT key, json, expires_at FROM store WHERE key = ? AND ${isLive}`,
    )
    this.#put = statement<never, [string, string, number, number | null]>(
      sql,
      `INSERT INTO store (key, json, bytes, expires_at) VALUES (?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET json = excluded.json, bytes = excluded.bytes, expires_at = excluded.expires_at`,
    )
    this.#remove = statement<never, [string]>(sql, 'DELETE FROM store WHERE key = ?')
    this.#sizeOf = statement<{ bytes: number }, [string]>(sql, 'SELECT bytes FROM store WHERE key = ?')
    this.#keys = statement<{ key: string }, [string, string, number, number]>(
      sql,
      `SELECT key FROM store WHERE key >= ? AND key > ? AND ${isLive} ORDER BY key LIMIT ?`,
    )
    this.#rows = statement<ValueRow, [string, number, number]>(
      sql,
      `SELECT key, json, expires_at FROM store WHERE key > ? AND ${isLive} ORDER BY key LIMIT ?`,
    )
    this.#expired = statement<{ keys: number; bytes: number }, [number]>(
      sql,
      'SELECT COUNT(*) AS keys, TOTAL(bytes) AS bytes FROM store WHERE expires_at <= ?',
    )
    this.#removeExpired = statement<never, [number]>(sql, 'DELETE FROM store WHERE expires_at <= ?')
    this.#total = statement<{ keys: number; bytes: number }>(sql, 'SELECT keys, bytes FROM store_total')
    this.#count = statement<never, [number, number]>(
      sql,
      'UPDATE store_total SET keys = keys + ?, bytes = bytes + ? WHERE id = 1',
    )
    this.#clear = statement(sql, 'DELETE FROM store')
  }

  get(key: string, now: number): StoredValue | undefined {
    const row = this.#get.first(key, now)
    return row === undefined ? undefined : stored(row)
  }

  /** Replaces what is there, and answers whether something was. `bytes` is how long the text is as UTF-8. A value that is there already costs no write. */
  put({ key, json, expiresAt }: StoreRow, bytes: number): boolean {
    const before = this.#sizeOf.first(key)
    this.#put.run(key, json, bytes, expiresAt)
    this.#count.run(before === undefined ? 1 : 0, bytes - (before?.bytes ?? 0))
    return before !== undefined
  }

  /** False if there is none. */
  remove(key: string): boolean {
    const before = this.#sizeOf.first(key)
    if (before === undefined) return false
    this.#remove.run(key)
    this.#count.run(-1, -before.bytes)
    return true
  }

  removeExpired(now: number): void {
    const { keys, bytes } = this.#expired.first(now) ?? { keys: 0, bytes: 0 }
    if (keys === 0) return
    this.#removeExpired.run(now)
    this.#count.run(-keys, -bytes)
  }

  get total(): { readonly keys: number; readonly bytes: number } {
    return this.#total.first() ?? { keys: 0, bytes: 0 }
  }

  /** Names that begin with the prefix, in the order of their bytes: such names stand together in it. */
  keys({ prefix, limit, after }: StoreListInput, now: number): StoreKeys {
    const rows = this.#keys.all(prefix, after ?? '', now, limit + 1).map(({ key }) => key)
    const end = rows.findIndex((key) => !key.startsWith(prefix))
    const keys = end < 0 ? rows : rows.slice(0, end)
    return { keys: keys.slice(0, limit), truncated: keys.length > limit }
  }

  /** Live values after this name, so many at most. */
  rows(after: string, now: number, limit: number): StoreRow[] {
    return this.#rows.all(after, now, limit).map((row) => ({ key: row.key, ...stored(row) }))
  }

  clear(): void {
    const { keys, bytes } = this.total
    this.#clear.run()
    this.#count.run(-keys, -bytes)
  }
}

function stored({ json, expires_at }: ValueRow): StoredValue {
  return { json, expiresAt: expires_at }
}
