/**
 * A fleet at a stated size, filled, used, hit by losses and left alone: what that costs and whether it holds. Regions have nothing in
 * common, so they run one after another. Each phase of the plan is a number of seconds of simulated time.
 */

import { hostRoom } from './hosts.ts'
import { seeded } from './random.ts'
import { Region } from './region.ts'

export interface Plan {
  readonly regions: number
  /** In each region. */
  readonly hosts: number
  readonly sandboxes: number
  /** Those of them that are there when the region's object begins. */
  readonly occupied: number
  /** Creates per second and region while it is filled, and afterwards, when as many end. */
  readonly fillRate: number
  readonly steadyRate: number
  readonly steadySeconds: number
  /** How many hosts of each region vanish: every second one by a closed socket, the others without a word. */
  readonly lostHosts: number
  readonly seed: number
}

export interface RegionResult {
  readonly name: string
  readonly sandboxes: number
  readonly simulatedSeconds: number
  readonly placements: number
  readonly placeMicroseconds: { readonly mean: number; readonly p99: number }
  readonly reports: number
  readonly reportMicroseconds: { readonly mean: number; readonly p99: number }
  readonly rows: { readonly runners: number; readonly mostPromises: number; readonly promisesLeft: number }
  /** Rows written per second of simulated time. */
  readonly writesPerSecond: number
  /** Calls to the region's object in its busiest second. */
  readonly busiestSecond: number
  readonly overcommits: number
  readonly refused: number
  readonly placedAgain: number
  readonly lost: number
  /** The fullest host's memory against the mean of those that are there, and the emptiest one's. */
  readonly fullest: number
  readonly emptiest: number
  /** Of the memory of the hosts that are there. */
  readonly used: number
}

/** Heard of for the last time after this, a host is not counted on; a promise that nobody kept ends later. */
const settleSeconds = 5
const silentSeconds = 100

/** Runs one region of the plan. */
export async function simulateRegion(plan: Plan, index: number): Promise<RegionResult> {
  const random = seeded(plan.seed + index)
  const region = new Region(`r${index}`, plan.hosts, plan.occupied, random)
  let seconds = 0
  const pass = async (creates: number, ends: number) => {
    seconds++
    await region.step(creates, ends)
  }
  for (let left = plan.sandboxes - plan.occupied; left > 0; left -= plan.fillRate)
    await pass(Math.min(left, plan.fillRate), 0)
  for (let second = 0; second < plan.steadySeconds; second++) {
    const count = random.count(plan.steadyRate)
    await pass(count, count)
  }
  const gone = region.hosts.slice(0, plan.lostHosts)
  region.lose(
    gone.filter((_, at) => at % 2 === 0),
    'cut',
  )
  region.lose(
    gone.filter((_, at) => at % 2 === 1),
    'silent',
  )
  // Their owners ask for as many again, on top of the usual.
  for (let second = 0; second < silentSeconds; second++) {
    const usual = random.count(plan.steadyRate)
    const again = Math.min(region.missing, Math.ceil(plan.fillRate / 10))
    region.missing -= again
    await pass(usual + again, usual)
  }
  for (let second = 0; second < settleSeconds; second++) await pass(0, 0)
  return resultOf(region, seconds)
}

function resultOf(region: Region, simulatedSeconds: number): RegionResult {
  const there = region.hosts.filter(({ presence }) => presence === 'up')
  const memory = there.map(({ memMib }) => memMib)
  const mean = memory.reduce((sum, one) => sum + one, 0) / there.length
  const { placing, reporting, runners, promises, counts } = region
  return {
    name: region.name,
    sandboxes: region.live.length,
    simulatedSeconds,
    placements: placing.count,
    placeMicroseconds: { mean: placing.mean, p99: placing.quantile(0.99) },
    reports: reporting.count,
    reportMicroseconds: { mean: reporting.mean, p99: reporting.quantile(0.99) },
    rows: {
      runners: runners.count.rows,
      mostPromises: promises.count.most,
      promisesLeft: promises.on(new Set(there.map(({ id }) => id))),
    },
    writesPerSecond: (runners.count.written + promises.count.written) / simulatedSeconds,
    busiestSecond: region.busiest,
    ...counts,
    fullest: Math.max(...memory) / mean,
    emptiest: Math.min(...memory) / mean,
    used: mean / hostRoom.memMib,
  }
}

/** What must hold in every region; the answer names what does not. */
export function broken(plan: Plan, result: RegionResult): string[] {
  const { name, rows, overcommits, sandboxes, refused, fullest, emptiest } = result
  const wrong: string[] = []
  const must = (holds: boolean, what: string) => {
    if (!holds) wrong.push(`${name}: ${what}`)
  }
  must(overcommits === 0, `${overcommits} sandboxes were placed where there was no room`)
  must(sandboxes === plan.sandboxes, `${sandboxes} sandboxes run instead of ${plan.sandboxes}`)
  must(refused === 0, `${refused} creates were refused while there was room`)
  must(rows.runners === plan.hosts, `${rows.runners} rows for ${plan.hosts} runners`)
  must(rows.promisesLeft === 0, `${rows.promisesLeft} promises are left on hosts that have reported since`)
  must(fullest < 1.1, `the fullest host has ${fullest.toFixed(2)} times the mean`)
  must(emptiest > 0.9, `the emptiest host has ${emptiest.toFixed(2)} times the mean`)
  return wrong
}
