import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type PageRun, pageBytes, totalPages } from '../memory/page-set.ts'
import { decodeRuns, encodeRuns } from './runs.ts'

const memoryMib = 256
const pages = (memoryMib * 2 ** 20) / pageBytes

/** Gaps and lengths make runs that are in order and apart. */
const someRuns = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 50 })), { maxLength: 50 })
  .map((pairs) => {
    const runs: PageRun[] = []
    let at = -1
    for (const [gap, count] of pairs) {
      runs.push({ first: at + gap, count })
      at += gap + count
    }
    return runs
  })

it('reads what it wrote', () => {
  fc.assert(
    fc.property(someRuns, (runs) => {
      expect(decodeRuns(encodeRuns(runs), memoryMib, totalPages(runs) * pageBytes)).toEqual(runs)
    }),
  )
})

it.each([
  [
    'touch each other',
    [
      { first: 0, count: 2 },
      { first: 2, count: 1 },
    ],
  ],
  [
    'overlap',
    [
      { first: 0, count: 2 },
      { first: 1, count: 1 },
    ],
  ],
  [
    'are out of order',
    [
      { first: 9, count: 1 },
      { first: 2, count: 1 },
    ],
  ],
  ['are empty', [{ first: 0, count: 0 }]],
  ['leave the memory', [{ first: pages - 1, count: 2 }]],
])('refuses runs that %s', (_what, runs) => {
  const reading = () => decodeRuns(encodeRuns(runs), memoryMib, totalPages(runs) * pageBytes)
  expect(reading).toThrow(expect.objectContaining({ code: 'snapshot_damaged' }))
})

it('takes the last page of the memory', () => {
  const runs = [{ first: pages - 1, count: 1 }]
  expect(decodeRuns(encodeRuns(runs), memoryMib, pageBytes)).toEqual(runs)
})

it('refuses a list that is cut off or does not add up to the content', () => {
  const bytes = encodeRuns([{ first: 0, count: 2 }])
  expect(() => decodeRuns(bytes.subarray(0, 7), memoryMib, 2 * pageBytes)).toThrow('cut off')
  expect(() => decodeRuns(bytes, memoryMib, pageBytes)).toThrow('does not match')
})
