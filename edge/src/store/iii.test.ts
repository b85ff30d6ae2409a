import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { IiiStore, iiiSchema, keptMs } from './iii.ts'
import { migrate } from './migrations.ts'

/** Works on a database of its own. */
function onStore(work: (store: IiiStore, again: () => IiiStore, sql: SqlStorage) => void): Promise<void> {
  return runInDurableObject(env.III.get(env.III.newUniqueId()), async (_object, { storage }) => {
    migrate(storage, iiiSchema)
    work(new IiiStore(storage.sql), () => new IiiStore(storage.sql), storage.sql)
    await storage.deleteAll()
  })
}

const begun = (worker: string, id: string) => ({ worker, id, function: 'sandbox::exec', trace: '{}' })

function ended(store: IiiStore, worker: string, id: string, answer: string, at: number): void {
  store.begin(begun(worker, id), at)
  store.end(worker, id, answer, at)
}

describe('an answer', () => {
  test('is kept whole, however long and whatever is in it', () =>
    onStore((store) => {
      const answer = `${'x'.repeat(499_999)}\u{1f600}${'\u20ac'.repeat(1_200_000)}"`
      ended(store, 'w', 'a', answer, 1)
      expect(store.answer('w', 'a') === answer).toBe(true)
    }))

  test('goes with its worker to the next, with what is still under way, and by the right token alone', () =>
    onStore((store) => {
      store.addWorker('old', 'hash', '{}')
      store.addWorker('new', 'other', '{}')
      ended(store, 'old', 'a', 'answer', 1)
      store.begin(begun('old', 'b'), 2)
      expect(store.reattach('old', 'wrong', 'new')).toBe(false)
      expect(store.ended('new')).toEqual([])
      expect(store.reattach('old', 'hash', 'new')).toBe(true)
      expect(store.ended('new')).toEqual(['a'])
      expect(store.answer('new', 'a')).toBe('answer')
      expect([store.stateOf('new', 'b'), store.stateOf('old', 'b')]).toEqual(['begun', 'new'])
      expect(store.reattach('old', 'hash', 'new')).toBe(false)
    }))

  test('is forgotten once a later frame shows that it has arrived, and not before it was sent', () =>
    onStore((store) => {
      for (const id of ['a', 'b', 'c']) ended(store, 'w', id, 'answer', 1000)
      store.sent('w', 'a', 1000)
      store.sent('w', 'b', 2000)
      store.alive('other', 1_000_000)
      store.alive('w', 91_001)
      expect(store.ended('w')).toEqual(['b', 'c'])
    }))

  test('is forgotten after its time, as is the worker that does not come back', () =>
    onStore((store) => {
      store.addWorker('w', 'hash', '{}')
      ended(store, 'w', 'a', 'answer', 1000)
      store.begin(begun('w', 'b'), 1000)
      expect(store.nextExpiry()).toBe(1000 + keptMs)
      store.away('w', 500)
      expect(store.nextExpiry()).toBe(500 + keptMs)
      store.expire(999 + keptMs)
      expect([store.ended('w'), store.noteOf('w')]).toEqual([['a'], undefined])
      store.expire(1000 + keptMs)
      expect([store.ended('w'), store.nextExpiry(), store.begun().length]).toEqual([[], undefined, 1])
    }))

  test('makes room for newer ones, by number and by size, and the count outlives the memory', () =>
    onStore((store, again) => {
      for (let at = 0; at < 2001; at++) ended(store, 'w', `${at}`, 'x', at)
      expect([store.ended('w').length, store.ended('w')[0]]).toEqual([2000, '1'])
      const later = again()
      ended(later, 'v', 'big', 'x'.repeat(33_554_431), 3000)
      expect([later.ended('w'), later.ended('v')]).toEqual([['2000'], ['big']])
    }))
})
