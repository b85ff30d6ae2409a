/**
 * `npm run scale`: 1,000 runners and 1,000,000 sandboxes in 10 regions. Prints what each region's object holds and does, and fails if the
 * placement does not hold. `npm run scale -- objects` measures calls to the objects instead.
 */

import { measureObjects } from './objects.ts'
import { broken, type Plan, type RegionResult, simulateRegion } from './simulation.ts'

const plan: Plan = {
  regions: 10,
  hosts: 100,
  sandboxes: 100_000,
  occupied: 50_000,
  fillRate: 2000,
  steadyRate: 50,
  steadySeconds: 30,
  lostHosts: 2,
  seed: 20_261_122,
}
/** Of one core, so that other work on the host does not count. */
const limitSeconds = 60

if (process.argv[2] === 'objects') await measureObjects()
else await simulate()

async function simulate(): Promise<void> {
  const start = performance.now()
  const results: RegionResult[] = []
  for (let index = 0; index < plan.regions; index++) results.push(await simulateRegion(plan, index))
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage()
  const busy = (user + system) / 1e6

  const columns: readonly [string, (one: RegionResult) => string][] = [
    ['region', (one) => one.name],
    ['sandboxes', (one) => String(one.sandboxes)],
    ['place µs', (one) => one.placeMicroseconds.mean.toFixed(1)],
    ['p99', (one) => one.placeMicroseconds.p99.toFixed(0)],
    ['report µs', (one) => one.reportMicroseconds.mean.toFixed(1)],
    ['p99', (one) => one.reportMicroseconds.p99.toFixed(0)],
    ['most promises', (one) => String(one.rows.mostPromises)],
    ['rows written/s', (one) => one.writesPerSecond.toFixed(0)],
    ['busiest s', (one) => String(one.busiestSecond)],
    ['lost', (one) => String(one.lost)],
    ['placed again', (one) => String(one.placedAgain)],
    ['refused', (one) => String(one.refused)],
    ['overcommits', (one) => String(one.overcommits)],
    ['fullest', (one) => one.fullest.toFixed(3)],
    ['emptiest', (one) => one.emptiest.toFixed(3)],
    ['memory used', (one) => `${(one.used * 100).toFixed(1)}%`],
  ]
  const rows = [columns.map(([name]) => name), ...results.map((one) => columns.map(([, show]) => show(one)))]
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)))
  for (const row of rows) process.stdout.write(`${row.map((cell, at) => cell.padStart(widths[at] ?? 0)).join('  ')}\n`)

  const placements = results.reduce((sum, one) => sum + one.placements, 0)
  const reports = results.reduce((sum, one) => sum + one.reports, 0)
  process.stdout.write(
    `\n${plan.regions * plan.hosts} runners, ${plan.regions * plan.sandboxes} sandboxes: ${placements} placements and ${reports} reports in ${seconds.toFixed(1)} s, ${busy.toFixed(1)} s of one core\n`,
  )
  const wrong = results.flatMap((one) => broken(plan, one))
  if (busy > limitSeconds) wrong.push(`it took ${busy.toFixed(1)} s of one core, more than ${limitSeconds}`)
  for (const line of wrong) process.stdout.write(`wrong: ${line}\n`)
  process.exitCode = wrong.length === 0 ? 0 : 1
}
