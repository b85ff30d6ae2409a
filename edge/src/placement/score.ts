/** Which runner gets a sandbox. Pure: what the region knows goes in, a runner or the reason why none comes out. */

import { AppError } from '@portico/shared/errors'

export interface Candidate {
  readonly id: string
  readonly connected: boolean
  readonly draining: boolean
  /** What it last reported, less what is reserved since. */
  readonly freeMemMib: number
  readonly freeSlots: number
  readonly images: readonly string[]
}

export interface Need {
  readonly region: string
  readonly image: string
  readonly memMib: number
  readonly avoid: readonly string[]
}

/**
 * The runner with the most room, among those that have the image ready if there are any: sandboxes spread, so that one lost host
 * takes few of them along. A runner that does not list the image may still know how to get it, so it is asked when nobody lists it.
 */
export function choose(candidates: readonly Candidate[], need: Need): Candidate {
  const usable = candidates.filter((one) => one.connected && !one.draining && !need.avoid.includes(one.id))
  if (usable.length === 0 && need.avoid.length === 0) {
    throw new AppError('no_runner', `cannot create the sandbox: no runner of region ${need.region} is connected`)
  }
  const roomy = usable.filter((one) => one.freeSlots >= 1 && one.freeMemMib >= need.memMib)
  const best = roomy.toSorted((a, b) => compare(a, b, need.image))[0]
  if (best !== undefined) return best
  throw new AppError(
    'capacity',
    `cannot create the sandbox: no runner of region ${need.region} has ${need.memMib} MiB of memory and a place free`,
  )
}

/** For how many sandboxes of this size a certain runner has room: what was saved on it can be nowhere else. */
export function roomFor(runner: Candidate | undefined, need: Pick<Need, 'region' | 'memMib'>): number {
  if (runner === undefined || !runner.connected) {
    const why = `its runner, of region ${need.region}, is not connected`
    throw new AppError('runner_disconnected', `cannot make the sandbox: ${why}`)
  }
  const count = Math.min(runner.freeSlots, Math.floor(runner.freeMemMib / need.memMib))
  if (!runner.draining && count >= 1) return count
  const why = runner.draining ? 'takes no new sandboxes' : `has no ${need.memMib} MiB of memory and a place free`
  throw new AppError('capacity', `cannot make the sandbox: its runner ${why}`)
}

function compare(a: Candidate, b: Candidate, image: string): number {
  const ready = Number(b.images.includes(image)) - Number(a.images.includes(image))
  return ready || b.freeMemMib - a.freeMemMib || b.freeSlots - a.freeSlots || (a.id < b.id ? -1 : 1)
}
