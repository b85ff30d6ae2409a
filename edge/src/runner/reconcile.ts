/**
 * What a runner really has against what the edge gave it. Pure. Generations decide: a sandbox that the runner has in another generation
 * than the edge gave it is lost in the one and unknown in the other.
 */

import type { RunnerStatus } from '@portico/shared/control'
import type { Assigned } from '../store/assigned.ts'

type Reported = RunnerStatus['sandboxes'][number]

export interface Difference {
  /** Given to this runner, confirmed by it, and no longer there. */
  readonly lost: readonly Assigned[]
  /** There, but not given to this runner as far as its object knows: the sandbox's own object decides. */
  readonly unknown: readonly Reported[]
  /** There, in another state than the sandbox's object was told. */
  readonly untold: readonly Untold[]
}

export interface Untold {
  readonly row: Assigned
  readonly state: Reported['state']
}

/** States in which a sandbox stays by itself; those between them soon are one of these. */
const settled: readonly Reported['state'][] = ['running', 'hibernated', 'error']

/** A create that nobody has heard of for so long is not under way any more. */
export const unconfirmedMs = 300_000

export function difference(assigned: readonly Assigned[], reported: readonly Reported[], now: number): Difference {
  const there = new Map(reported.map((one) => [one.sandbox, one.generation]))
  const live = assigned.filter((row) => row.confirmed || now - row.since < unconfirmedMs)
  const given = new Map(live.map((row) => [row.sandbox, row.generation]))
  const rows = new Map(assigned.filter((row) => row.confirmed).map((row) => [row.sandbox, row]))
  return {
    lost: assigned.filter((row) => row.confirmed && there.get(row.sandbox) !== row.generation),
    unknown: reported.filter((one) => !isEnding(one.state) && given.get(one.sandbox) !== one.generation),
    untold: reported.flatMap(({ sandbox, generation, state }) => {
      const row = rows.get(sandbox)
      const isNews = row?.generation === generation && row.told !== state && settled.includes(state)
      return isNews ? [{ row, state }] : []
    }),
  }
}

/** On its way out by itself: the runner tells its end as an event. */
function isEnding(state: Reported['state']): boolean {
  return state === 'destroying' || state === 'destroyed'
}
