/**
 * What is to be told to webhooks, and the log of what was. A delivery waits behind an older one of the same webhook and sandbox until that
 * is done or was tried a few times; then it is ready. No statement here looks at more rows than it answers or changes, however many wait.
 */

import { type SqlValue, statement } from './sql.ts'

export type DeliveryState = 'pending' | 'delivered' | 'given_up'

export type DeliveryRow = {
  seq: number
  id: string
  webhook: string
  event: string
  sandbox: string
  body: string
  state: DeliveryState
  attempts: number
  last_status: number | null
  last_error: string | null
  created_at: number
  next_at: number | null
  ready_at: number | null
}

export type NewDelivery = Pick<DeliveryRow, 'id' | 'webhook' | 'event' | 'sandbox' | 'body' | 'created_at'>

/** How an attempt ended. `next_at` is null once the delivery is done. */
export type Attempt = Pick<DeliveryRow, 'state' | 'last_status' | 'last_error' | 'next_at'>

/** The most that may wait, of one webhook and of all together, and the most that a webhook's log keeps. */
export interface DeliveryBounds {
  readonly pending: number
  readonly pendingOfAll: number
  readonly done: number
}

/** So many attempts an older delivery is waited for. The index `deliveries_ahead` holds for this number alone. */
export const triesInOrder = 4
/** What is over a bound goes in steps of so many, more than one entry of the index brings, so that no write takes long. */
const mostAtOnce = 1000

const ahead = `SELECT MIN(seq) FROM deliveries
  WHERE webhook = ? AND sandbox = ? AND state = 'pending' AND attempts < ${triesInOrder}`

export class DeliveryTable {
  readonly #insert
  readonly #nextTries
  readonly #due
  readonly #readyAt
  readonly #settle
  readonly #release
  readonly #log
  readonly #counts
  readonly #oldest
  readonly #prune
  readonly #drop
  readonly #dropCount

  constructor(sql: SqlStorage) {
    this.#insert = statement<never, SqlValue[]>(
      sql,
      `INSERT INTO deliveries (id, webhook, event, sandbox, body, state, attempts, created_at, next_at)
       VALUES (?, ?, ?, ?, ?, 'pending', 0, ?, ?)`,
    )
    this.#nextTries = statement<{ tries: number | null }, [number]>(
      sql,
      'SELECT MIN(attempts) AS tries FROM deliveries WHERE attempts > ? AND ready_at IS NOT NULL',
    )
    this.#due = statement<DeliveryRow, [number, number, number]>(
      sql,
      'SELECT * FROM deliveries WHERE attempts = ? AND ready_at <= ? ORDER BY ready_at, seq LIMIT ?',
    )
    this.#readyAt = statement<{ at: number | null }, [number]>(
      sql,
      'SELECT MIN(ready_at) AS at FROM deliveries WHERE attempts = ? AND ready_at IS NOT NULL',
    )
    this.#settle = statement<never, SqlValue[]>(
      sql,
      `UPDATE deliveries SET state = ?, attempts = attempts + ?, last_status = ?, last_error = ?, next_at = ?, ready_at = ?
       WHERE seq = ? AND state = 'pending'`,
    )
    this.#release = statement<never, [string, string]>(
      sql,
      `UPDATE deliveries SET ready_at = next_at WHERE seq = (${ahead}) AND ready_at IS NULL`,
    )
    this.#log = statement<DeliveryRow, [string, number]>(
      sql,
      'SELECT * FROM deliveries WHERE webhook = ? ORDER BY seq DESC LIMIT ?',
    )
    this.#counts = statement<{ webhook: string; pending: number; done: number }>(sql, 'SELECT * FROM delivery_counts')
    this.#oldest = statement<DeliveryRow, [string, number]>(
      sql,
      "SELECT * FROM deliveries WHERE webhook = ? AND state = 'pending' ORDER BY seq LIMIT ?",
    )
    this.#prune = statement<never, [string, number]>(
      sql,
      `DELETE FROM deliveries WHERE seq IN
         (SELECT seq FROM deliveries WHERE webhook = ? AND state <> 'pending' ORDER BY seq LIMIT ?)`,
    )
    this.#drop = statement<never, [string]>(sql, 'DELETE FROM deliveries WHERE webhook = ?')
    this.#dropCount = statement<never, [string]>(sql, 'DELETE FROM delivery_counts WHERE webhook = ?')
  }

  add({ id, webhook, event, sandbox, body, created_at }: NewDelivery): void {
    this.#insert.run(id, webhook, event, sandbox, body, created_at, created_at)
    this.#release.run(webhook, sandbox)
  }

  /** What may be tried now, what was tried least first. */
  due(now: number, limit: number): DeliveryRow[] {
    const due: DeliveryRow[] = []
    for (const tries of this.#tries()) {
      due.push(...this.#due.all(tries, now, limit - due.length))
      if (due.length >= limit) break
    }
    return due
  }

  /** When the next one may be tried. */
  nextAt(): number | undefined {
    let next: number | undefined
    for (const tries of this.#tries()) {
      const at = this.#readyAt.first(tries)?.at ?? undefined
      if (at !== undefined && (next === undefined || at < next)) next = at
    }
    return next
  }

  /** After an attempt. One that was given up or dropped meanwhile stays so. */
  settle({ seq, webhook, sandbox }: DeliveryRow, { state, last_status, last_error, next_at }: Attempt): void {
    this.#settle.run(state, 1, last_status, last_error, next_at, next_at, seq)
    this.#release.run(webhook, sandbox)
  }

  /** Newest first. */
  log(webhook: string, limit: number): DeliveryRow[] {
    return this.#log.all(webhook, limit)
  }

  /** Brings this webhook and all together within the bounds; the oldest go. Over that of all, the webhook with the most waiting gives way. */
  bound(webhook: string, { pending, pendingOfAll, done }: DeliveryBounds): void {
    this.#giveUp(webhook, this.#countsOf(webhook).pending - pending)
    const counts = this.#counts.all()
    const all = counts.reduce((sum, count) => sum + count.pending, 0)
    const most = counts.reduce((a, b) => (b.pending > a.pending ? b : a), { webhook, pending: 0 })
    this.#giveUp(most.webhook, all - pendingOfAll)
    const surplus = this.#countsOf(webhook).done - done
    if (surplus > 0) this.#prune.run(webhook, Math.min(surplus, mostAtOnce))
  }

  /** Of a webhook that is gone. */
  drop(webhook: string): void {
    this.#drop.run(webhook)
    this.#dropCount.run(webhook)
  }

  #giveUp(webhook: string, surplus: number): void {
    if (surplus <= 0) return
    for (const { seq, sandbox, last_status } of this.#oldest.all(webhook, Math.min(surplus, mostAtOnce))) {
      this.#settle.run('given_up', 0, last_status, 'too many deliveries were waiting', null, null, seq)
      this.#release.run(webhook, sandbox)
    }
  }

  #countsOf(webhook: string): { pending: number; done: number } {
    return this.#counts.all().find((count) => count.webhook === webhook) ?? { pending: 0, done: 0 }
  }

  /** How often those that are ready were tried: each number once, from the least. */
  *#tries(): Generator<number> {
    let tries = this.#nextTries.first(-1)?.tries ?? undefined
    while (tries !== undefined) {
      yield tries
      tries = this.#nextTries.first(tries)?.tries ?? undefined
    }
  }
}
