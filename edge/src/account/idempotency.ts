/**
 * Creating calls with an `Idempotency-Key`, as the account's object keeps them:
 *
 *   unknown ── first ──▶ under way ── answered ──▶ done, for 24 h or until newer answers need the room
 *      ▲                  │  ▲  │
 *      └── may be mended ─┘  │  └── repeated: refused as pending …
 *                            └───── … or, when nobody works at it any more, goes on with the same ids
 *
 * Nobody works at it any more once it is older than any call takes, once its caller has let it go, or when what it makes is made and only
 * the answer is missing. A repetition that was wrong about that makes nothing twice: whoever makes something under an id joins or finds
 * what is there.
 */

import { AppError } from '@portico/shared/errors'
import type { Idempotent, IdempotentInput } from '../ports.ts'
import type { IdempotencyTable } from '../store/idempotency.ts'

export const answerKeptMs = 24 * 3_600_000
/** As long as an interrupted create is given. */
export const pendingMs = 120_000
/** Of the storage of the account's object, 10 GB: enough for 200,000 creates in a day. */
export const mostKeptBytes = 256 * 2 ** 20

/** How to go on with this call. Where more is kept than may be, the oldest answers make room for it. */
export function beginOnce(
  table: IdempotencyTable,
  input: IdempotentInput,
  now: number,
  mostBytes = mostKeptBytes,
): Idempotent {
  const { key, fingerprint, ids } = input
  table.expire(key, now - answerKeptMs)
  const known = table.get(key)
  if (known === undefined) {
    table.begin(key, fingerprint, ids, now)
    table.shed(key, mostBytes)
    return { kind: 'first', ids }
  }
  if (known.fingerprint !== fingerprint) {
    throw new AppError(
      'idempotency_mismatch',
      'cannot repeat the call: its Idempotency-Key was used for another request',
    )
  }
  if (known.answer !== null) return { kind: 'done', ...known.answer }
  if (now - known.since < pendingMs && !known.ids.some((id) => table.isMade(id))) {
    throw new AppError(
      'idempotency_pending',
      'cannot repeat the call: the first one with its Idempotency-Key is still under way',
    )
  }
  table.touch(key, now)
  return { kind: 'again', ids: known.ids }
}

/** The next repetition goes on at once. */
export function suspendOnce(table: IdempotencyTable, key: string, now: number): void {
  table.touch(key, now - pendingMs)
}
