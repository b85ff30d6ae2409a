/**
 * Creating calls that came with an `Idempotency-Key`. Without a status the call has not answered yet. What they take up together is kept by
 * the triggers of `in-use.ts`.
 */

import { statement } from './sql.ts'

type CallRow = {
  fingerprint: string
  ids: string
  since: number
  status: number | null
  body: string | null
}

export interface KnownCall {
  readonly fingerprint: string
  readonly ids: readonly string[]
  /** When it was begun, or went on, or answered. */
  readonly since: number
  readonly answer: { readonly status: number; readonly body: string } | null
}

/** Rows that one step removes: far more than one call adds. */
const atOnce = 100

export class IdempotencyTable {
  readonly #get
  readonly #begin
  readonly #touch
  readonly #end
  readonly #forget
  readonly #expireOne
  readonly #expire
  readonly #bytes
  readonly #shed
  readonly #isMade

  constructor(sql: SqlStorage) {
    this.#get = statement<CallRow, [string]>(
      sql,
      'SELECT fingerprint, ids, since, status, body FROM idempotency WHERE key = ?',
    )
    this.#begin = statement<never, [string, string, string, number]>(
      sql,
      'INSERT INTO idempotency (key, fingerprint, ids, since) VALUES (?, ?, ?, ?)',
    )
    this.#touch = statement<never, [number, string]>(
      sql,
      'UPDATE idempotency SET since = ? WHERE key = ? AND status IS NULL',
    )
    this.#end = statement<never, [number, string, number, string]>(
      sql,
      'UPDATE idempotency SET status = ?, body = ?, since = ? WHERE key = ? AND status IS NULL',
    )
    this.#forget = statement<never, [string]>(sql, 'DELETE FROM idempotency WHERE key = ? AND status IS NULL')
    this.#expireOne = statement<never, [string, number]>(sql, 'DELETE FROM idempotency WHERE key = ? AND since <= ?')
    this.#expire = statement<never, [number]>(
      sql,
      `DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE since <= ? ORDER BY since LIMIT ${atOnce})`,
    )
    this.#bytes = statement<{ bytes: number }>(sql, 'SELECT bytes FROM kept_calls')
    this.#shed = statement<never, [string]>(
      sql,
      `DELETE FROM idempotency WHERE key IN
         (SELECT key FROM idempotency WHERE status IS NOT NULL AND key <> ? ORDER BY since LIMIT ${atOnce})`,
    )
    this.#isMade = statement<{ made: number }, [string, string]>(
      sql,
      `SELECT 1 AS made FROM sandboxes WHERE id = ? AND state <> 'creating'
       UNION ALL SELECT 1 FROM snapshots WHERE id = ? AND size_bytes IS NOT NULL`,
    )
  }

  get(key: string): KnownCall | undefined {
    const row = this.#get.first(key)
    if (row === undefined) return undefined
    const { fingerprint, since, status, body } = row
    const answer = status === null ? null : { status, body: body ?? '' }
    return { fingerprint, ids: JSON.parse(row.ids) as string[], since, answer }
  }

  begin(key: string, fingerprint: string, ids: readonly string[], now: number): void {
    this.#begin.run(key, fingerprint, JSON.stringify(ids), now)
  }

  touch(key: string, now: number): void {
    this.#touch.run(now, key)
  }

  /** The first answer stays. */
  end(key: string, status: number, body: string, now: number): void {
    this.#end.run(status, body, now, key)
  }

  /** What has answered stays. */
  forget(key: string): void {
    this.#forget.run(key)
  }

  /** Removes what was last heard of so long ago: this call for certain, of the others some at a time. */
  expire(key: string, before: number): void {
    this.#expireOne.run(key, before)
    this.#expire.run(before)
  }

  /** Removes answers, the oldest first, until no more than this is kept; never this call, nor one that has not answered. */
  shed(key: string, mostBytes: number): void {
    while (this.bytes() > mostBytes && this.#shed.run(key) > 0);
  }

  /** What all calls take up, about. */
  bytes(): number {
    return this.#bytes.first()?.bytes ?? 0
  }

  /** Whether the account knows this sandbox or snapshot as made, whatever has become of it. */
  isMade(id: string): boolean {
    return this.#isMade.first(id, id) !== undefined
  }
}
