import { FakeClock } from '@portico/shared/clock'
import { expect, test } from 'vitest'
import { ShortCache } from './short-cache.ts'

test('a value lives for its time and not a millisecond longer', async () => {
  const clock = new FakeClock()
  const cache = new ShortCache<string | null>(clock, 10_000)
  cache.set('good', 'value')
  cache.set('bad', null)
  await clock.advance(9_999)
  expect([cache.get('good'), cache.get('bad')]).toEqual(['value', null])
  await clock.advance(1)
  expect([cache.get('good'), cache.get('bad')]).toEqual([undefined, undefined])
  expect(cache.size).toBe(0)
})

test('setting a value again starts its time anew, and deleting it ends it', async () => {
  const clock = new FakeClock()
  const cache = new ShortCache<number>(clock, 1000)
  cache.set('a', 1)
  await clock.advance(900)
  cache.set('a', 2)
  await clock.advance(900)
  expect(cache.get('a')).toBe(2)
  cache.delete('a')
  expect(cache.get('a')).toBeUndefined()
})

test('it holds so many values and no more: the oldest goes', () => {
  const cache = new ShortCache<number>(new FakeClock(), 1000, 3)
  for (let value = 0; value < 4; value++) cache.set(String(value), value)
  expect(cache.size).toBe(3)
  expect([cache.get('0'), cache.get('1'), cache.get('3')]).toEqual([undefined, 1, 3])
})
