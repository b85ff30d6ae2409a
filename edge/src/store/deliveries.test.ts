import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { DeliveryTable, triesInOrder } from './deliveries.ts'
import { deliverySteps } from './delivery-steps.ts'
import { accountSchema, migrate } from './migrations.ts'

const before = accountSchema.slice(0, accountSchema.indexOf(deliverySteps[0] ?? ''))
const start = 1_800_000_000_000
const bounds = { pending: 100_000, pendingOfAll: 1_000_000, done: 1000 }
const failed = { state: 'pending', last_status: 500, last_error: 'no', next_at: start + 1 } as const
const delivered = { state: 'delivered', last_status: 200, last_error: null, next_at: null } as const

/** A database that knows how many rows its statements looked at. */
class Counted {
  #cursors: SqlStorageCursor<Record<string, SqlStorageValue>>[] = []
  readonly sql: SqlStorage

  constructor(sql: SqlStorage) {
    const exec = (text: string, ...parameters: unknown[]) => {
      const cursor = sql.exec(text, ...parameters)
      this.#cursors.push(cursor)
      return cursor
    }
    this.sql = { exec } as unknown as SqlStorage
  }

  read<Answer>(work: () => Answer): { rows: number; answer: Answer } {
    this.#cursors = []
    const answer = work()
    return { rows: this.#cursors.reduce((sum, { rowsRead }) => sum + rowsRead, 0), answer }
  }
}

function onStorage(work: (storage: DurableObjectStorage) => void): () => Promise<void> {
  const object = env.ACCOUNTS.get(env.ACCOUNTS.newUniqueId())
  return () =>
    runInDurableObject(object, async (_object, { storage }) => {
      work(storage)
      await storage.deleteAll()
    })
}

const delivery = (id: string, webhook: string, sandbox: string) => ({
  ...{ id, webhook, sandbox, event: 'sandbox.running', body: '{}', created_at: start },
})

describe('deliveries', () => {
  test(
    'of ten dead webhooks, 20,000 from before there were indexes, cost the alarm and a new event a few rows',
    onStorage((storage) => {
      migrate(storage, before)
      // Four of each sandbox; every third sandbox's first was tried until the next needs not wait for it.
      storage.sql.exec(
        `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
         INSERT INTO deliveries (id, webhook, event, sandbox, body, state, attempts, created_at, next_at)
         SELECT 'd' || i, 'hook' || (i % 10), 'sandbox.running', 'run' || (i % 5000), '{}', 'pending',
           CASE WHEN i < 5000 AND i % 3 = 0 THEN 5 WHEN i < 5000 THEN 1 ELSE 0 END, ?1, ?1 + 1000 + i FROM n`,
        start,
      )
      const ready = storage.sql
        .exec<{ seq: number }>(
          `SELECT seq FROM deliveries AS d WHERE NOT EXISTS (SELECT 1 FROM deliveries AS older
             WHERE older.state = 'pending' AND older.webhook = d.webhook AND older.sandbox = d.sandbox AND older.seq < d.seq
             AND older.attempts < ${triesInOrder}) ORDER BY attempts, next_at`,
        )
        .toArray()
      migrate(storage, accountSchema)
      const counted = new Counted(storage.sql)
      const table = new DeliveryTable(counted.sql)
      const everything = table.due(start + 100_000, 50_000)
      expect(everything.map(({ seq }) => seq)).toEqual(ready.map(({ seq }) => seq))

      const most = 60
      expect(counted.read(() => table.due(start, 6))).toEqual({ rows: expect.any(Number), answer: [] })
      expect(counted.read(() => table.due(start, 6)).rows).toBeLessThan(most)
      const due = counted.read(() => table.due(start + 100_000, 6))
      expect(due.answer).toHaveLength(6)
      expect(due.rows).toBeLessThan(most)
      const next = counted.read(() => table.nextAt())
      expect(next.answer).toBe(start + 1000)
      expect(next.rows).toBeLessThan(most)
      const [first] = due.answer
      expect(first).toBeDefined()
      if (first === undefined) return
      expect(counted.read(() => table.settle(first, failed)).rows).toBeLessThan(most)
      expect(counted.read(() => table.settle(first, delivered)).rows).toBeLessThan(most)
      expect(counted.read(() => table.add(delivery('new', 'hook1', 'run1'))).rows).toBeLessThan(most)
      expect(counted.read(() => table.bound('hook1', bounds)).rows).toBeLessThan(most)
      expect(counted.read(() => table.bound('hook1', { ...bounds, pending: 2000 })).rows).toBeLessThan(most)
      expect(table.log('hook1', 5000).filter(({ state }) => state === 'given_up')).toHaveLength(1)
    }),
  )

  test(
    'over the bound of all are given up from where most wait, the oldest first',
    onStorage((storage) => {
      migrate(storage, accountSchema)
      const table = new DeliveryTable(storage.sql)
      for (let n = 0; n < 6; n++) table.add(delivery(`dead${n}`, 'dead', `run${n}`))
      for (let n = 0; n < 3; n++) table.add(delivery(`live${n}`, 'live', `run${n}`))
      table.bound('live', { ...bounds, pendingOfAll: 7 })
      const waiting = (webhook: string) =>
        table.log(webhook, 10).flatMap(({ id, state }) => (state === 'pending' ? [id] : []))
      expect(waiting('live')).toEqual(['live2', 'live1', 'live0'])
      expect(waiting('dead')).toEqual(['dead5', 'dead4', 'dead3', 'dead2'])
      expect(table.due(start, 10)).toHaveLength(7)
    }),
  )

  test(
    'that waited behind one that was given up for lack of room are ready',
    onStorage((storage) => {
      migrate(storage, accountSchema)
      const table = new DeliveryTable(storage.sql)
      for (const id of ['first', 'second', 'third']) table.add(delivery(id, 'hook', 'run'))
      expect(table.due(start, 10).map(({ id }) => id)).toEqual(['first'])
      table.bound('hook', { ...bounds, pending: 2 })
      expect(table.due(start, 10).map(({ id }) => id)).toEqual(['second'])
    }),
  )

  test(
    'that are done leave the log, the oldest first, and what is counted goes with the webhook',
    onStorage((storage) => {
      migrate(storage, accountSchema)
      const table = new DeliveryTable(storage.sql)
      for (let n = 0; n < 5; n++) table.add(delivery(`d${n}`, 'hook', `run${n}`))
      for (const row of table.due(start, 4)) table.settle(row, delivered)
      table.bound('hook', { ...bounds, done: 2 })
      expect(table.log('hook', 10).map(({ id }) => id)).toEqual(['d4', 'd3', 'd2'])
      const counts = () => storage.sql.exec('SELECT * FROM delivery_counts').toArray()
      expect(counts()).toEqual([{ webhook: 'hook', pending: 1, done: 2 }])
      table.drop('hook')
      expect(counts()).toEqual([])
      expect(table.nextAt()).toBeUndefined()
    }),
  )
})
