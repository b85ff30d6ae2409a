/** Which runner gets a sandbox. Pure: what the region knows goes in, a runner or the reason why none comes out. The same table gives the same answer. */

import { AppError } from '@portico/shared/errors'

export interface Candidate {
  readonly id: string
  readonly connected: boolean
  /** By itself, or because the operator asked for it. */
  readonly draining: boolean
  /** What it last reported, less what is promised since. */
  readonly freeMemMib: number
  /** Infinite where the runner states none. */
  readonly freeVcpus: number
  readonly freeSlots: number
  /** The bound of its policy; undefined where it states none. */
  readonly mostSandboxes?: number | undefined
  readonly images: ReadonlySet<string>
  /** Machines that stand ready, by image. */
  readonly warm: Readonly<Record<string, number>>
  /** Places promised since its report: each may have taken a machine that stood ready. */
  readonly promised: number
  /** Of its host, per core. */
  readonly load: number
}

/** What one sandbox takes. */
export interface Shape {
  readonly memMib: number
  readonly vcpus: number
}

export interface Need extends Shape {
  readonly region: string
  readonly image: string
  readonly avoid: readonly string[]
}

/** From here on a host has more to do than it can, and gets a sandbox only if no other can take it. */
const busyLoad = 1

/**
 * The runner with the most room, among those that have the image, that are not busy, and that have a machine ready, in this order, if
 * there are any: sandboxes spread, so that one lost host takes few of them along. A runner that does not list the image may still know
 * how to get it, so it is asked when nobody lists it.
 */
export function choose<One extends Candidate>(candidates: Iterable<One>, need: Need): One {
  let best: One | undefined
  const usable: One[] = []
  for (const one of candidates) {
    if (!one.connected || one.draining || need.avoid.includes(one.id)) continue
    usable.push(one)
    if (fits(one, need) && (best === undefined || isBetter(one, best, need.image))) best = one
  }
  if (best !== undefined) return best
  if (usable.length === 0 && need.avoid.length === 0) {
    throw new AppError('no_runner', `cannot create the sandbox: no runner of region ${need.region} is connected`)
  }
  if (need.avoid.length > 0 && !usable.some((one) => one.images.has(need.image))) {
    throw new AppError('no_runner', `cannot create the sandbox: no other runner of region ${need.region} takes it`)
  }
  const full = fullPlaces(usable)
  const why = full ?? `no runner of region ${need.region} has ${sizeOf(need)} and a place free`
  throw new AppError('capacity', `cannot create the sandbox: ${why}`)
}

/** Said where places alone are what lacks, on every runner, and each states how many there may be. */
function fullPlaces(usable: readonly Candidate[]): string | undefined {
  let sum = 0
  for (const { freeSlots, mostSandboxes } of usable) {
    if (freeSlots >= 1 || mostSandboxes === undefined) return undefined
    sum += mostSandboxes
  }
  return sum > 0 ? `max_concurrent_sandboxes (${sum}) reached` : undefined
}

/** For how many sandboxes of this size a certain runner has room: what was saved on it can be nowhere else. */
export function roomFor(runner: Candidate | undefined, need: Shape & Pick<Need, 'region'>): number {
  if (runner === undefined || !runner.connected) {
    const why = `its runner, of region ${need.region}, is not connected`
    throw new AppError('runner_disconnected', `cannot make the sandbox: ${why}`)
  }
  const count = Math.min(
    runner.freeSlots,
    Math.floor(runner.freeMemMib / need.memMib),
    Math.floor(runner.freeVcpus / need.vcpus),
  )
  if (!runner.draining && count >= 1) return count
  const why = runner.draining ? 'takes no new sandboxes' : `has not ${sizeOf(need)} and a place free`
  throw new AppError('capacity', `cannot make the sandbox: its runner ${why}`)
}

function fits(one: Candidate, { memMib, vcpus }: Shape): boolean {
  return one.freeSlots >= 1 && one.freeMemMib >= memMib && one.freeVcpus >= vcpus
}

function isBetter(a: Candidate, b: Candidate, image: string): boolean {
  const order =
    Number(a.images.has(image)) - Number(b.images.has(image)) ||
    Number(a.load < busyLoad) - Number(b.load < busyLoad) ||
    Number(hasWarm(a, image)) - Number(hasWarm(b, image)) ||
    a.freeMemMib - b.freeMemMib ||
    a.freeSlots - b.freeSlots
  return order > 0 || (order === 0 && a.id < b.id)
}

function hasWarm({ warm, promised }: Candidate, image: string): boolean {
  return Object.hasOwn(warm, image) && (warm[image] ?? 0) > promised
}

function sizeOf({ memMib, vcpus }: Shape): string {
  return `${memMib} MiB of memory, ${vcpus} vCPUs`
}
