/** Whatever is done to a store, it holds what a plain map would hold, counts it right, and tells its keys in the order of their bytes. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { storeLimits } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { newSandboxId } from '@portico/shared/ids'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StoreChange, StoreRow } from '../ports.ts'
import { migrate, sandboxSchema } from '../store/migrations.ts'
import { Values } from '../store/values.ts'
import { Store } from './store.ts'

interface Made {
  readonly store: Store
  readonly values: Values
  readonly clock: FakeClock
}

/** Works with stores on a real database. */
function withStore(work: (make: () => Made) => Promise<void>): Promise<void> {
  const stub = env.SANDBOXES.get(env.SANDBOXES.idFromName(newSandboxId()))
  return runInDurableObject(stub, async (_object, { storage }) => {
    migrate(storage, sandboxSchema)
    const values = new Values(storage.sql)
    await work(() => {
      const clock = new FakeClock(1_000_000)
      const transaction = <Value>(change: () => Value) => storage.transactionSync(change)
      const store = new Store({ values: () => values, clock, transaction })
      store.clear()
      return { store, values, clock }
    })
  })
}

const byBytes = (a: string, b: string) => {
  const [x, y] = [new TextEncoder().encode(a), new TextEncoder().encode(b)]
  for (let at = 0; at < Math.min(x.length, y.length); at++) if (x[at] !== y[at]) return (x[at] ?? 0) - (y[at] ?? 0)
  return x.length - y.length
}

/** Few keys, so that they meet; of every length that a character has. */
const key = fc.constantFrom('a', 'ab', 'a/b', 'é', 'b\u{ffff}', 'b\u{10000}', 'B', '%', '_', 'a\u{1}')
const change: fc.Arbitrary<StoreChange> = fc.record({
  key,
  json: fc.option(fc.json({ maxDepth: 2 }), { freq: 3 }),
  ttlSeconds: fc.option(fc.constantFrom(0.001, 1, 5, 60)),
})
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ batch: fc.array(change, { maxLength: 6 }), isBad: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ passMs: fc.integer({ min: 0, max: 8000 }) }) },
)

class Model {
  readonly rows = new Map<string, { json: string; expiresAt: number | null }>()

  apply(changes: readonly StoreChange[], now: number): boolean[] {
    return changes.map(({ key, json, ttlSeconds }) => {
      const was = this.live(now).has(key)
      if (json === null) this.rows.delete(key)
      else this.rows.set(key, { json, expiresAt: ttlSeconds === null ? null : now + Math.ceil(ttlSeconds * 1000) })
      return was
    })
  }

  live(now: number): Map<string, string> {
    const live = [...this.rows].filter(([, { expiresAt }]) => expiresAt === null || expiresAt > now)
    return new Map(live.map(([key, { json }]) => [key, json]))
  }
}

const codeOf = (thrown: unknown) => (thrown instanceof AppError ? thrown.code : String(thrown))

test('batches do all or nothing, and what is live is what a map holds', () =>
  withStore(async (make) => {
    const property = fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const { store, values, clock } = make()
      const model = new Model()
      for (const one of steps) {
        if ('passMs' in one) await clock.advance(one.passMs)
        else if (one.isBad) {
          const bad = { key: 'x'.repeat(513), json: '1', ttlSeconds: null }
          await expect(store.apply([...one.batch, bad], () => undefined)).rejects.toThrow('1 to 512 bytes')
        } else {
          expect(await store.apply(one.batch, () => undefined)).toEqual(model.apply(one.batch, clock.now()))
          const { keys, bytes } = values.total
          const live = model.live(clock.now())
          const size = [...live.values()].reduce((sum, json) => sum + new TextEncoder().encode(json).length, 0)
          expect({ keys, bytes }).toEqual({ keys: live.size, bytes: size })
        }
        const live = model.live(clock.now())
        expect(Object.fromEntries(store.piece().rows.map(({ key, json }) => [key, json]))).toEqual(
          Object.fromEntries(live),
        )
        const names = [...live.keys()].toSorted(byBytes)
        expect(store.keys({ prefix: '', limit: 100, after: null })).toEqual({ keys: names, truncated: false })
      }
    })
    await fc.assert(property, { numRuns: 120 })
  }))

test('pages of keys with a prefix, put together, are all of them in the order of their bytes', () =>
  withStore(async (make) => {
    const keys = fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }), { maxLength: 20 })
    const property = fc.asyncProperty(
      keys.filter((all) => all.every((one) => one.isWellFormed() && !/^\.\.?$|\0/.test(one))),
      fc.string({ maxLength: 1 }).filter((prefix) => prefix !== '\0'),
      fc.integer({ min: 1, max: 4 }),
      async (all, prefix, limit) => {
        const { store } = make()
        await store.apply(
          all.map((name) => ({ key: name, json: '0', ttlSeconds: null })),
          () => undefined,
        )
        const told: string[] = []
        for (let after: string | null = null; ; after = told.at(-1) ?? null) {
          const page = store.keys({ prefix, limit, after })
          told.push(...page.keys)
          if (!page.truncated) break
          expect(page.keys).toHaveLength(limit)
        }
        expect(told).toEqual(all.filter((name) => name.startsWith(prefix)).toSorted(byBytes))
      },
    )
    await fc.assert(property, { numRuns: 150 })
  }))

describe('a store', () => {
  test('takes its limits and no more, and says which one was met', () =>
    withStore(async (make) => {
      const { store } = make()
      const set = (name: string, json: string) =>
        store.apply([{ key: name, json, ttlSeconds: null }], () => undefined).then(() => 'set', codeOf)
      const value = JSON.stringify('x'.repeat(storeLimits.valueBytes - 2))
      expect(await set('é'.repeat(256), '1')).toBe('set')
      expect(await set('é'.repeat(257), '1')).toBe('invalid_request')
      for (const bad of ['', '.', '..', 'a\0b', '\ud800']) expect(await set(bad, '1')).toBe('invalid_request')
      expect(await set('v', value)).toBe('set')
      expect(await set('w', `${value} `)).toBe('payload_too_large')
      const full = Math.floor(storeLimits.totalBytes / storeLimits.valueBytes)
      for (let at = 1; at < full; at++) await set(`v${at}`, value)
      expect(await set('more', value)).toBe('quota_exceeded')
      expect(() => store.get('more')).toThrow('cannot read more: there is no value')
      expect(await set('v1', '1')).toBe('set')
      expect(await set('more', '1')).toBe('set')
    }))

  test('holds 10,000 keys; what has expired makes room', () =>
    withStore(async (make) => {
      const { store, clock } = make()
      for (let from = 0; from < storeLimits.keys; from += 1000) {
        const some = Array.from({ length: 1000 }, (_, at) => ({
          key: `k${from + at}`,
          json: '1',
          ttlSeconds: from ? null : 9,
        }))
        await store.apply(some, () => undefined)
      }
      const more = [{ key: 'more', json: '1', ttlSeconds: null }]
      await expect(store.apply(more, () => undefined)).rejects.toThrow('at most 10000 keys, and would hold 10001')
      await clock.advance(9000)
      expect(await store.apply(more, () => undefined)).toEqual([false])
    }))

  test('is copied in pieces as it was at one moment: changes wait until the copy is there', () =>
    withStore(async (make) => {
      const { store } = make()
      const value = JSON.stringify('x'.repeat(200_000))
      const names = Array.from({ length: 12 }, (_, at) => `k${String(at).padStart(2, '0')}`)
      await store.apply(
        names.map((name) => ({ key: name, json: value, ttlSeconds: null })),
        () => undefined,
      )
      const taken: StoreRow[] = []
      const hold = Promise.withResolvers<void>()
      const begun = Promise.withResolvers<void>()
      const copy = store.copied(async (first) => {
        taken.push(...first.rows)
        begun.resolve()
        await hold.promise
        for (let { next } = first; next !== undefined; ) {
          const piece = store.piece(next)
          taken.push(...piece.rows)
          next = piece.next
        }
      })
      await begun.promise
      expect(taken.length).toBeLessThan(12)
      let isChanged = false
      const changed = store.apply([{ key: 'k11', json: '0', ttlSeconds: null }], () => {
        isChanged = true
      })
      expect(store.get('k11').json).toBe(value)
      expect(isChanged).toBe(false)
      hold.resolve()
      await copy
      await changed
      expect(taken.map((row) => row.key)).toEqual(names)
      expect(taken.every(({ json }) => json === value)).toBe(true)
      expect(store.get('k11').json).toBe('0')
    }))
})
