/** The platform's signing keys, newest first. The private half is here sealed, and only while its key signs. */

import type { PublicSigningKey } from '../ports.ts'
import { statement } from './sql.ts'

export interface StoredKey {
  readonly kid: string
  readonly createdAt: number
  /** When another took its place. */
  readonly retiredAt: number | null
  /** No token of it ends after that; 0 before the first. In milliseconds, rounded up. */
  readonly lastUntil: number
  readonly public: PublicSigningKey
  readonly sealed: ArrayBuffer | null
}

const columns = 'kid, created_at, retired_at, last_until, public, private'
type KeyRow = {
  kid: string
  created_at: number
  retired_at: number | null
  last_until: number
  public: string
  private: ArrayBuffer | null
}

export class SigningKeyTable {
  readonly #insert
  readonly #list
  readonly #signing
  readonly #seal
  readonly #signed
  readonly #retire
  readonly #drop

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, [string, number, string, ArrayBuffer]>(
      sql,
      'INSERT INTO signing_keys (kid, created_at, last_until, public, private) VALUES (?, ?, 0, ?, ?)',
    )
    this.#list = statement<KeyRow>(sql, `SELECT ${columns} FROM signing_keys ORDER BY rowid DESC`)
    this.#signing = statement<KeyRow>(
      sql,
      `SELECT ${columns} FROM signing_keys WHERE retired_at IS NULL ORDER BY rowid DESC LIMIT 1`,
    )
    this.#seal = statement<never, [ArrayBuffer, string]>(sql, 'UPDATE signing_keys SET private = ? WHERE kid = ?')
    this.#signed = statement<never, [number, string]>(sql, 'UPDATE signing_keys SET last_until = ? WHERE kid = ?')
    this.#retire = statement<never, [number]>(
      sql,
      'UPDATE signing_keys SET retired_at = ?, private = NULL WHERE retired_at IS NULL',
    )
    this.#drop = statement<never, [number]>(
      sql,
      'DELETE FROM signing_keys WHERE retired_at IS NOT NULL AND last_until <= ?',
    )
  }

  add(key: PublicSigningKey, sealed: ArrayBuffer, now: number): void {
    this.#insert.run(key.kid, now, JSON.stringify(key), sealed)
  }

  list(): StoredKey[] {
    return this.#list.all().map(keyOf)
  }

  /** The one that signs. */
  signing(): StoredKey | undefined {
    const row = this.#signing.first()
    return row === undefined ? undefined : keyOf(row)
  }

  /** Replaces the sealed private half. */
  seal(kid: string, sealed: ArrayBuffer): void {
    this.#seal.run(sealed, kid)
  }

  /** A token of this key ends then. */
  signed(kid: string, until: number): void {
    this.#signed.run(until, kid)
  }

  /** The one that signed signs no more, and its private half is gone. */
  retire(now: number): void {
    this.#retire.run(now)
  }

  /** Forgets retired keys whose last token ended by then. */
  drop(before: number): void {
    this.#drop.run(before)
  }
}

function keyOf(row: KeyRow): StoredKey {
  return {
    kid: row.kid,
    createdAt: row.created_at,
    retiredAt: row.retired_at,
    lastUntil: row.last_until,
    public: JSON.parse(row.public) as PublicSigningKey,
    sealed: row.private,
  }
}
