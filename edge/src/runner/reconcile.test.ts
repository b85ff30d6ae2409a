import type { SandboxState } from '@portico/shared/lifecycle'
import { describe, expect, test } from 'vitest'
import { promiseMs } from '../placement/promises.ts'
import type { Assigned } from '../store/assigned.ts'
import { difference, perhapsPromised, unconfirmedMs } from './reconcile.ts'

const given = (
  sandbox: string,
  generation = 1,
  confirmed = true,
  since = 0,
  told: string | null = 'running',
  away: Assigned['away'] = 0,
  heard = 0,
): Assigned => ({ sandbox, generation, confirmed, since, told, away, heard })
const there = (sandbox: string, generation = 1, state: SandboxState = 'running') => ({
  sandbox,
  generation,
  state,
})

describe('what a runner has against what it was given', () => {
  test('is the same: nothing to do', () => {
    const known = [given('a'), given('b', 2, true, 0, 'error'), given('c', 1, true, 0, 'hibernated')]
    const reported = [there('b', 2, 'error'), there('a'), there('c', 1, 'hibernated')]
    expect(difference(known, reported, 0)).toEqual({ lost: [], unknown: [], untold: [], leaving: [] })
  })

  test('lacks one: lost, unless its create is not answered yet', () => {
    expect(difference([given('a'), given('b', 1, false)], [], 0).lost).toEqual([given('a')])
  })

  test('has one more: unknown, unless it is on its way out by itself', () => {
    const reported = [there('a'), there('b', 1, 'destroying'), there('c', 1, 'destroyed'), there('d', 1, 'error')]
    expect(difference([], reported, 0).unknown.map(({ sandbox }) => sandbox)).toEqual(['a', 'd'])
  })

  test('has another generation: lost in the one, unknown in the other', () => {
    expect(difference([given('a', 2)], [there('a', 1)], 0)).toEqual({
      lost: [given('a', 2)],
      unknown: [there('a', 1)],
      untold: [],
      leaving: [],
    })
  })

  test('has one whose create is under way: known, until nobody can be waiting for it any more', () => {
    const row = given('a', 1, false, 1000)
    expect(difference([row], [there('a', 1, 'creating')], 1000 + unconfirmedMs - 1).unknown).toEqual([])
    expect(difference([row], [there('a', 1, 'creating')], 1000 + unconfirmedMs).unknown).toHaveLength(1)
  })

  test('sleeps like any other: not lost while it is reported, lost when it is not, claimed when nobody knew of it', () => {
    const row = given('a', 1, true, 0, 'hibernated')
    expect(difference([row], [there('a', 1, 'hibernated')], 0).lost).toEqual([])
    expect(difference([row], [], 0).lost).toEqual([row])
    expect(difference([], [there('a', 1, 'hibernated')], 0).unknown).toHaveLength(1)
  })

  test('is in another state than was told, or in one of which nobody is certain: told once it stays in it', () => {
    const slept = given('a')
    expect(difference([slept], [there('a', 1, 'hibernated')], 0).untold).toEqual([{ row: slept, state: 'hibernated' }])
    const uncertain = given('a', 1, true, 0, null)
    expect(difference([uncertain], [there('a')], 0).untold).toEqual([{ row: uncertain, state: 'running' }])
    for (const state of ['creating', 'hibernating', 'resuming', 'destroying'] as const)
      expect(difference([uncertain], [there('a', 1, state)], 0).untold).toEqual([])
    expect(difference([given('a', 1, false, 0, null)], [there('a')], 0).untold).toEqual([])
  })

  test('was thought to be out of reach: told whatever it does now, unless it is on its way out', () => {
    for (const away of [1, 2] as const) {
      const row = given('a', 1, true, 0, 'running', away)
      for (const state of ['running', 'hibernating', 'error'] as const)
        expect(difference([row], [there('a', 1, state)], 0)).toMatchObject({
          lost: [],
          unknown: [],
          untold: [{ row, state }],
        })
      expect(difference([row], [there('a', 1, 'destroying')], 0).untold).toEqual([])
    }
  })

  test('has an older generation of one that was thought to be out of reach: not told of it', () => {
    const row = given('a', 2, true, 0, 'running', 2)
    expect(difference([row], [there('a', 1)], 0)).toEqual({
      lost: [row],
      unknown: [there('a', 1)],
      untold: [],
      leaving: [],
    })
  })

  test('is on the way to another state: what was told is not certain any more', () => {
    const row = given('a')
    for (const state of ['hibernating', 'resuming'] as const)
      expect(difference([row], [there('a', 1, state)], 0)).toMatchObject({ untold: [], leaving: [row] })
    for (const state of ['running', 'hibernated', 'destroying'] as const)
      expect(difference([row], [there('a', 1, state)], 0).leaving).toEqual([])
    expect(difference([given('a', 1, true, 0, null)], [there('a', 1, 'resuming')], 0).leaving).toEqual([])
  })

  test('was told of later than this: neither lost nor in that state', () => {
    const row = given('a', 1, true, 0, 'hibernated', 2, 7)
    expect(difference([row], [there('a')], 0, 6)).toEqual({ lost: [], unknown: [], untold: [], leaving: [] })
    expect(difference([row], [], 0, 6).lost).toEqual([])
    expect(difference([row], [there('a')], 0, 8).untold).toEqual([{ row, state: 'running' }])
    expect(difference([row], [], 0, 8).lost).toEqual([row])
  })
})

test('the region hears of those that it may still have promised room to, not of all', () => {
  const now = 10_000_000
  const rows = [given('old', 1, true, now - 2 * promiseMs), given('young', 1, true, now - promiseMs), given('gone')]
  const reported = [there('old'), there('young'), there('stranger', 1, 'hibernated')]
  expect(perhapsPromised(rows, reported, now)).toEqual(['young', 'stranger'])
})
