import { describe, expect, test } from 'vitest'
import { difference, unconfirmedMs } from './reconcile.ts'

const given = (sandbox: string, generation = 1, confirmed = true, since = 0) => ({
  sandbox,
  generation,
  confirmed,
  since,
})
const there = (
  sandbox: string,
  generation = 1,
  state: 'running' | 'destroying' | 'destroyed' | 'error' | 'creating' = 'running',
) => ({
  sandbox,
  generation,
  state,
})

describe('what a runner has against what it was given', () => {
  test('is the same: nothing to do', () => {
    expect(difference([given('a'), given('b', 2)], [there('b', 2, 'error'), there('a')], 0)).toEqual({
      lost: [],
      unknown: [],
    })
  })

  test('lacks one: lost, unless its create is not answered yet', () => {
    expect(difference([given('a'), given('b', 1, false)], [], 0).lost).toEqual([given('a')])
  })

  test('has one more: unknown, unless it is on its way out by itself', () => {
    const reported = [there('a'), there('b', 1, 'destroying'), there('c', 1, 'destroyed'), there('d', 1, 'error')]
    expect(difference([], reported, 0).unknown.map(({ sandbox }) => sandbox)).toEqual(['a', 'd'])
  })

  test('has another generation: lost in the one, unknown in the other', () => {
    expect(difference([given('a', 2)], [there('a', 1)], 0)).toEqual({ lost: [given('a', 2)], unknown: [there('a', 1)] })
  })

  test('has one whose create is under way: known, until nobody can be waiting for it any more', () => {
    const row = given('a', 1, false, 1000)
    expect(difference([row], [there('a', 1, 'creating')], 1000 + unconfirmedMs - 1).unknown).toEqual([])
    expect(difference([row], [there('a', 1, 'creating')], 1000 + unconfirmedMs).unknown).toHaveLength(1)
  })
})
