import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Backoff } from './backoff.ts'

const delays = (backoff: Backoff, count: number) => Array.from({ length: count }, () => backoff.next())

test('delays double up to the greatest', () => {
  expect(delays(new Backoff({ firstMs: 100, maxMs: 1500, random: () => 0.999_999 }), 7)).toEqual([
    100, 200, 400, 800, 1500, 1500, 1500,
  ])
})

test('each is shortened at random by up to half', () => {
  expect(delays(new Backoff({ firstMs: 100, maxMs: 1500, random: () => 0 }), 6)).toEqual([50, 100, 200, 400, 750, 750])
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 60_000 }), (firstMs, maxMs) => {
      for (const [tries, delay] of delays(new Backoff({ firstMs, maxMs }), 40).entries()) {
        const step = Math.min(maxMs, firstMs * 2 ** tries)
        expect(delay).toBeGreaterThanOrEqual(Math.floor(step / 2))
        expect(delay).toBeLessThanOrEqual(step)
      }
    }),
  )
})

test('after a reset the first comes again', () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1500, random: () => 0 })
  delays(backoff, 5)
  backoff.reset()
  expect(backoff.next()).toBe(50)
})

test('any number of tries stays a number', () => {
  const backoff = new Backoff({ firstMs: 100, maxMs: 1500 })
  expect(delays(backoff, 5000).every((delay) => delay >= 50 && delay <= 1500)).toBe(true)
})
