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

const begun = (worker: string, id: string) => ({ worker, id, function: 'sandbox::exec', trace: '{}', silent: 0 })

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
      expect(store.reattach('old', 'wrong', 'new', 3)).toBeUndefined()
      expect(store.ended('new')).toEqual([])
      expect(store.reattach('old', 'hash', 'new', 3)).toBe('old')
      expect(store.ended('new')).toEqual(['a'])
      expect(store.answer('new', 'a')).toBe('answer')
      expect([store.stateOf('new', 'b'), store.stateOf('old', 'b')]).toEqual(['begun', 'new'])
      expect(store.reattach('old', 'hash', 'new', 3)).toBeUndefined()
    }))

  test('goes on to a third by the papers of the first, and no chain is a ring', () =>
    onStore((store) => {
      for (const id of ['1', '2', '3']) store.addWorker(id, `hash ${id}`, '{}')
      store.begin(begun('1', 'a'), 1)
      expect(store.reattach('1', 'hash 1', '2', 2)).toBe('1')
      expect(store.reattach('1', 'hash 1', '3', 3)).toBe('2')
      expect(store.stateOf('3', 'a')).toBe('begun')
      expect(store.reattach('3', 'hash 3', '2', 4)).toBe('3')
      expect(store.reattach('1', 'hash 1', '3', 5)).toBe('2')
      expect(store.stateOf('3', 'a')).toBe('begun')
    }))

  test('under way keeps the worker that it is of, however long that is away', () =>
    onStore((store) => {
      store.addWorker('w', 'hash', '{}')
      store.begin(begun('w', 'a'), 1)
      store.away('w', 2)
      expect(store.nextExpiry()).toBeUndefined()
      store.expire(3 * keptMs)
      expect(store.noteOf('w')).toBe('{}')
      store.end('w', 'a', 'answer', 3 * keptMs)
      store.expire(4 * keptMs)
      expect([store.noteOf('w'), store.nextExpiry()]).toEqual([undefined, undefined])
    }))

  test('that was not sent is not thrown out by those that were, and else keeps its place', () =>
    onStore((store) => {
      ended(store, 'away', 'a', 'answer', 1)
      for (let at = 0; at < 2001; at++) {
        ended(store, 'busy', `${at}`, 'x', 2 + at)
        store.sent('busy', `${at}`, 2 + at)
      }
      expect([store.answer('away', 'a'), store.lost('away', 'a')]).toEqual(['answer', undefined])
      expect(store.ended('busy')[0]).toBe('2')
      for (let at = 0; at < 2000; at++) ended(store, 'other', `${at}`, 'x', 3000 + at)
      expect(store.ended('busy')).toEqual([])
      expect([store.ended('away'), store.lost('away', 'a')]).toEqual([
        ['a'],
        { function: 'sandbox::exec', trace: '{}' },
      ])
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
      expect(store.nextExpiry()).toBe(1000 + keptMs)
      store.away('w', 500)
      expect(store.nextExpiry()).toBe(1000 + keptMs)
      store.expire(999 + keptMs)
      expect([store.ended('w'), store.noteOf('w')]).toEqual([['a'], '{}'])
      store.expire(1000 + keptMs)
      expect([store.ended('w'), store.nextExpiry(), store.begun().length]).toEqual([[], undefined, 0])
      expect(store.noteOf('w')).toBeUndefined()
    }))

  test('makes room for newer ones, by number and by size, and the count outlives the memory', () =>
    onStore((store, again) => {
      for (let at = 0; at < 2001; at++) {
        ended(store, 'w', `${at}`, 'x', at)
        store.sent('w', `${at}`, at)
      }
      expect([store.ended('w').length, store.ended('w')[0]]).toEqual([2000, '1'])
      const later = again()
      ended(later, 'v', 'big', 'x'.repeat(33_554_431), 3000)
      expect([later.ended('w'), later.ended('v')]).toEqual([['2000'], ['big']])
    }))
})
