/**
 * What a runner really has against what the edge gave it. Pure. Generations decide: a sandbox that the runner has in another generation
 * than the edge gave it is lost in the one and unknown in the other.
 */

import type { RunnerStatus } from '@portico/shared/control'
import { promiseMs } from '../placement/promises.ts'
import type { Assigned } from '../store/assigned.ts'

type Reported = RunnerStatus['sandboxes'][number]

export interface Difference {
  /** Given to this runner, confirmed by it, and no longer there. */
  readonly lost: readonly Assigned[]
  /** There, but not given to this runner as far as its object knows: the sandbox's own object decides. */
  readonly unknown: readonly Reported[]
  /** There, in another state than the sandbox's object was told, or told to be out of reach. */
  readonly untold: readonly Untold[]
  /** There, and on the way from the state that the sandbox's object was told to another one. */
  readonly leaving: readonly Assigned[]
}

export interface Untold {
  readonly row: Assigned
  readonly state: Reported['state']
}

/** States in which a sandbox stays by itself; those between them soon are one of these. */
const settled: readonly Reported['state'][] = ['running', 'hibernated', 'error']

/** A create that nobody has heard of for so long is not under way any more. */
export const unconfirmedMs = 360_000

/** A region's clock and this one may differ by so much. */
const clockSkewMs = 60_000

/** What of a sandbox was told after this status, which came late, is newer than it: such a sandbox is left alone. */
export function difference(
  assigned: readonly Assigned[],
  reported: readonly Reported[],
  now: number,
  sequence = Number.POSITIVE_INFINITY,
): Difference {
  const there = new Map(reported.map((one) => [one.sandbox, one.generation]))
  const live = assigned.filter((row) => row.confirmed || now - row.since < unconfirmedMs)
  const given = new Map(live.map((row) => [row.sandbox, row.generation]))
  const asOfThen = assigned.filter((row) => row.confirmed && row.heard <= sequence)
  const rows = new Map(asOfThen.map((row) => [row.sandbox, row]))
  return {
    lost: asOfThen.filter((row) => there.get(row.sandbox) !== row.generation),
    unknown: reported.filter((one) => !isEnding(one.state) && given.get(one.sandbox) !== one.generation),
    untold: reported.flatMap(({ sandbox, generation, state }) => {
      const row = rows.get(sandbox)
      if (row?.generation !== generation) return []
      const isNews = row.told !== state && settled.includes(state)
      return isNews || (row.away > 0 && !isEnding(state)) ? [{ row, state }] : []
    }),
    leaving: reported.flatMap(({ sandbox, generation, state }) => {
      const row = rows.get(sandbox)
      const leaves = row?.generation === generation && row.told !== null && row.told !== state
      return leaves && !settled.includes(state) && !isEnding(state) ? [row] : []
    }),
  }
}

/** Those that room may still be promised to: all others were there for longer than any promise lasts. */
export function perhapsPromised(assigned: readonly Assigned[], reported: readonly Reported[], now: number): string[] {
  const before = now - promiseMs - clockSkewMs
  const old = new Set(assigned.filter(({ since }) => since < before).map(({ sandbox }) => sandbox))
  return reported.flatMap(({ sandbox }) => (old.has(sandbox) ? [] : [sandbox]))
}

/** On its way out by itself: the runner tells its end as an event. */
function isEnding(state: Reported['state']): boolean {
  return state === 'destroying' || state === 'destroyed'
}
