/** An account's keys. Only the hash of a secret is here. */

import type { Key, KeyRecord, Scope } from '../ports.ts'
import { statement } from './sql.ts'

const columns = 'id, region, name, scope, created_at, expires_at, last_used_at, revoked_at'
type KeyRow = {
  id: string
  region: string
  name: string
  scope: string
  created_at: string
  expires_at: string | null
  last_used_at: string | null
  revoked_at: string | null
}
type CheckRow = Pick<KeyRow, 'scope' | 'expires_at' | 'revoked_at'> & { hash: string }

const minuteMs = 60_000

export class KeyTable {
  readonly #insert
  readonly #list
  readonly #get
  readonly #check
  readonly #use
  readonly #revoke

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, string, string | null, string]>(
      sql,
      'INSERT INTO keys (id, region, name, scope, created_at, expires_at, hash) VALUES (?, ?, ?, ?, ?, ?, ?)',
    )
    this.#list = statement<KeyRow>(sql, `SELECT ${columns} FROM keys ORDER BY created_at, id`)
    this.#get = statement<KeyRow, [string]>(sql, `SELECT ${columns} FROM keys WHERE id = ?`)
    this.#check = statement<CheckRow, [string]>(
      sql,
      'SELECT scope, expires_at, revoked_at, hash FROM keys WHERE id = ?',
    )
    this.#use = statement<never, [string, string, string]>(
      sql,
      'UPDATE keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)',
    )
    this.#revoke = statement<never, [string, string]>(
      sql,
      'UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL',
    )
  }

  add(key: Key, hash: string): void {
    this.#insert.run(key.id, key.region, key.name, key.scope, key.created_at, key.expires_at, hash)
  }

  list(): Key[] {
    return this.#list.all().map(keyOf)
  }

  /** What a check needs, or null for an unknown key. */
  check(id: string): Omit<KeyRecord, 'requestsPerSecond'> | null {
    const row = this.#check.first(id)
    if (row === undefined) return null
    const expiresAt = row.expires_at === null ? null : Date.parse(row.expires_at)
    return { hash: row.hash, revoked: row.revoked_at !== null, scope: row.scope as Scope, expiresAt }
  }

  /** Notes a use, to the minute: written once in each at most. */
  used(id: string, now: number): void {
    const minute = new Date(now - (now % minuteMs)).toISOString()
    this.#use.run(minute, id, minute)
  }

  /** Repeating it keeps the first time. */
  revoke(id: string, at: string): Key | undefined {
    this.#revoke.run(at, id)
    const row = this.#get.first(id)
    return row === undefined ? undefined : keyOf(row)
  }
}

function keyOf(row: KeyRow): Key {
  return { ...row, scope: row.scope as Scope }
}
