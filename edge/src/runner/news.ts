/**
 * What a runner tells by itself: its status and what happens to sandboxes. The region learns the status, the sandboxes' own objects decide
 * what it means for them, and the runner is told to destroy what nobody claims.
 */

import type { Clock } from '@portico/shared/clock'
import type { RunnerStatus, SandboxEventMessage } from '@portico/shared/control'
import { parseSandboxId } from '@portico/shared/ids'
import type { Usage } from '@portico/shared/usage'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { type CallOutcome, isGone, type Objects } from '../ports.ts'
import type { Assigned, AssignedTable } from '../store/assigned.ts'
import { forEachAtOnce } from './at-once.ts'
import { difference, perhapsPromised, type Untold } from './reconcile.ts'

/** What one status may make the edge ask about; the next status, 30 s later at most, goes on. */
const mostAtOnce = 100
/** A runner that was away may have this many to tell of that were thought to be out of reach. */
const mostBack = 500

export interface NewsOptions {
  readonly runner: string
  readonly region: string
  readonly objects: Objects
  readonly assigned: AssignedTable
  readonly clock: Clock
  /** Tells this runner to destroy a sandbox. */
  readonly destroy: (sandbox: string, generation: number) => Promise<CallOutcome<Usage>>
  /** Asks this runner for a sandbox. */
  readonly stats: (sandbox: string, generation: number) => Promise<CallOutcome<Usage>>
}

/** The session that a status came on. */
export interface Teller {
  readonly tunnel: string
  readonly generation: number
  readonly sockets: number
}

/** Takes a status: the region first, then the differences. */
export async function hearStatus(options: NewsOptions, teller: Teller, status: RunnerStatus): Promise<void> {
  const { objects, assigned, clock, runner, region } = options
  const { op: _op, session: _session, sequence, sandboxes, ...figures } = status
  const known = sandboxes.filter((one) => parseSandboxId(one.sandbox) !== undefined)
  const [now, given] = [clock.now(), assigned.all()]
  const { lost, unknown, untold, leaving } = difference(given, known, now, sequence)
  const { tunnel, ...link } = teller
  const report = { ...figures, ...link, sandboxes: perhapsPromised(given, known, now), held: known.length }
  for (const row of leaving) assigned.tell(row.sandbox, row.generation, null)
  await reach('report the runner', objects.region(region).report(runner, tunnel, now, report))
  const { back = [], moved = [] } = Object.groupBy(untold, ({ row }) => (row.away > 0 ? 'back' : 'moved'))
  await forEachAtOnce(back.slice(0, mostBack), (news) => tell(options, news))
  await forEachAtOnce(lost.slice(0, mostAtOnce), (row) => lose(options, row))
  await forEachAtOnce(unknown.slice(0, mostAtOnce), (one) => settle(options, one.sandbox, one.generation))
  await forEachAtOnce(moved.slice(0, mostAtOnce), (news) => tell(options, news))
}

/** Takes an event: whatever it is, the sandbox's object knows what to do with it. */
export async function hearEvent(options: NewsOptions, message: SandboxEventMessage): Promise<void> {
  const { objects, assigned, runner } = options
  if (parseSandboxId(message.sandbox) === undefined) return
  unwrap(await reach('report a sandbox', objects.sandbox(message.sandbox).event(runner, message)))
  if (message.state === 'destroyed') return assigned.remove(message.sandbox, message.generation)
  // It may have been news of the past, or a call was under way: the next status is compared anew.
  assigned.tell(message.sandbox, message.generation, null)
}

/**
 * A status does not list a sandbox. It may have been held up on a socket that stood still while the sandbox was made by way of another,
 * so the runner itself is asked; if it cannot be, its next status says.
 */
async function lose({ objects, assigned, runner, stats }: NewsOptions, row: Assigned): Promise<void> {
  const answer = await stats(row.sandbox, row.generation)
  if (answer.ok || !isGone(answer)) return
  unwrap(await reach('report a lost sandbox', objects.sandbox(row.sandbox).lost(runner, row.generation)))
  assigned.remove(row.sandbox, row.generation)
}

/** A sandbox is in another state than its object was last told, or in reach again. */
async function tell({ objects, assigned, runner }: NewsOptions, { row, state }: Untold): Promise<void> {
  const { sandbox, generation } = row
  // Whatever happened since this status came in is younger than it.
  if (!isSame(assigned.get(sandbox), row)) return
  const message = { op: 'sandbox.event', sandbox, generation, state } as const
  const isTaken = unwrap(await reach('report a sandbox', objects.sandbox(sandbox).event(runner, message)))
  assigned.mark(sandbox, generation, 0)
  if (isTaken && isSame(assigned.get(sandbox), row)) assigned.tell(sandbox, generation, state)
}

function isSame(now: Assigned | undefined, then: Assigned): boolean {
  return now?.generation === then.generation && now.told === then.told && now.heard === then.heard
}

/** A sandbox that this runner was not known to have: kept if its own object says so, destroyed otherwise. */
async function settle(options: NewsOptions, sandbox: string, generation: number): Promise<void> {
  const { objects, assigned, clock, runner, destroy } = options
  const kept = await reach('ask for a sandbox', objects.sandbox(sandbox).claims(runner, generation))
  if (kept) return assigned.put({ sandbox, generation, confirmed: true, since: clock.now(), told: null })
  const answer = await destroy(sandbox, generation)
  if (!answer.ok) return
  const ended = { op: 'sandbox.event', sandbox, generation, state: 'destroyed', usage: answer.value } as const
  unwrap(await reach('report a sandbox', objects.sandbox(sandbox).event(runner, ended)))
}
