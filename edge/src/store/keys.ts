/** An account's keys. Only the hash of a secret is here. */

import type { Key, SecretRecord } from '../ports.ts'
import { statement } from './sql.ts'

const columns = 'id, region, name, created_at, revoked_at'
type KeyRow = { id: string; region: string; name: string; created_at: string; revoked_at: string | null }

export class KeyTable {
  readonly #insert
  readonly #list
  readonly #get
  readonly #secret
  readonly #revoke

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, string, string, string, string]>(
      sql,
      'INSERT INTO keys (id, region, name, hash, created_at) VALUES (?, ?, ?, ?, ?)',
    )
    this.#list = statement<KeyRow>(sql, `SELECT ${columns} FROM keys ORDER BY created_at, id`)
    this.#get = statement<KeyRow, [string]>(sql, `SELECT ${columns} FROM keys WHERE id = ?`)
    this.#secret = statement<{ hash: string; revoked_at: string | null }, [string]>(
      sql,
      'SELECT hash, revoked_at FROM keys WHERE id = ?',
    )
    this.#revoke = statement<never, [string, string]>(
      sql,
      'UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL',
    )
  }

  add(key: Key, hash: string): void {
    this.#insert.run(key.id, key.region, key.name, hash, key.created_at)
  }

  list(): Key[] {
    return this.#list.all()
  }

  /** What a check needs, or null for an unknown key. */
  secret(id: string): SecretRecord | null {
    const row = this.#secret.first(id)
    return row === undefined ? null : { hash: row.hash, revoked: row.revoked_at !== null }
  }

  /** Repeating it keeps the first time. */
  revoke(id: string, at: string): Key | undefined {
    this.#revoke.run(at, id)
    return this.#get.first(id)
  }
}
