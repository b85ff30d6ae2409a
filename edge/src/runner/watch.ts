/**
 * What a runner's object does by itself, at its alarm, a batch at a time; the assigned table says what is left to do, so that whoever
 * goes on after an eviction goes on where it was.
 *
 *   connected ──last socket gone or silent──▶ away ──long enough──▶ its sandboxes are told that they are unreachable
 *       ▲                                      │
 *       └───────────── status ─────────────────┘
 *   emptied with `hibernate` ──▶ its sandboxes are put to sleep        removed as lost ──▶ its sandboxes are given up
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { logFailure } from '../log.ts'
import { unwrap } from '../outcome.ts'
import { fromPlatform, reach } from '../platform-errors.ts'
import type { Objects } from '../ports.ts'
import type { Assigned, AssignedTable } from '../store/assigned.ts'
import { forEachAtOnce } from './at-once.ts'
import type { Standing } from './standing.ts'

/** Sandboxes per alarm that are told something. */
const toldAtOnce = 100
/** Sandboxes per alarm that are put to sleep: each is written to its host's disk. */
const asleepAtOnce = 4
/** One that could not be put to sleep is asked again after this long. */
const askAgainMs = 30_000
/** What failed for want of another object is tried again after this long. */
const tryAgainMs = 5_000
/** How often a tunnel is looked at that says nothing. */
const lookMs = 30_000

export interface WatchOptions {
  readonly runner: string
  readonly standing: Standing
  readonly assigned: AssignedTable
  readonly objects: Objects
  readonly clock: Clock
  /** How long a runner may be away before its sandboxes are unreachable. */
  readonly unreachableAfterMs: number
  /** Whether its tunnel is in force; a look that notices the end of it says so to the standing. */
  readonly isConnected: () => boolean
}

/** Does what is due and answers when to look again; undefined when there is nothing to wait for. */
export async function watch(options: WatchOptions): Promise<number | undefined> {
  const { standing } = options
  if (standing.removed !== undefined) return standing.removed.lost ? giveUp(options) : undefined
  if (!options.isConnected()) return await whileAway(options)
  return (await empty(options)) ?? options.clock.now() + Math.min(lookMs, options.unreachableAfterMs)
}

async function whileAway(options: WatchOptions): Promise<number | undefined> {
  const { standing, assigned, objects, runner, clock, unreachableAfterMs } = options
  const since = standing.awaySince
  if (since === undefined) return undefined
  if (clock.now() < since + unreachableAfterMs) return since + unreachableAfterMs
  const batch = assigned.reachable(toldAtOnce)
  if (batch.length === 0) return undefined
  const tell = async ({ sandbox, generation }: Assigned) => {
    // First, so that a status that comes meanwhile tells it that the runner is there.
    assigned.mark(sandbox, generation, 1)
    unwrap(await reach('report a sandbox', objects.sandbox(sandbox).unreachable(runner, generation, since)))
    assigned.mark(sandbox, generation, 2)
  }
  return again(options, forEachAtOnce(batch, tell))
}

/** Puts some of its sandboxes to sleep. Undefined when nobody asked for that. */
async function empty(options: WatchOptions): Promise<number | undefined> {
  const { standing, assigned, objects, runner, clock } = options
  if (standing.drain !== 'hibernate') return undefined
  const batch = assigned.awake(clock.now() - askAgainMs, asleepAtOnce)
  if (batch.length === 0) return assigned.counts().running > 0 ? clock.now() + tryAgainMs : undefined
  const putToSleep = async ({ sandbox, generation }: Assigned) => {
    assigned.ask(sandbox, generation, clock.now())
    const { status } = unwrap(await reach('hibernate a sandbox', objects.sandbox(sandbox).evacuate(runner, generation)))
    if (status === 'hibernated') assigned.tell(sandbox, generation, status)
  }
  // What does not work out with one is its own matter, and it is asked again.
  await forEachAtOnce(batch, putToSleep).catch((thrown) => logUnforeseen('hibernate a sandbox', thrown))
  return clock.now()
}

async function giveUp(options: WatchOptions): Promise<number | undefined> {
  const { standing, assigned, objects, runner } = options
  const batch = assigned.some(toldAtOnce)
  if (batch.length === 0) return undefined
  const confirmedAt = standing.confirmedAt ?? 0
  const tell = async ({ sandbox, generation }: Assigned) => {
    unwrap(await reach('give up a sandbox', objects.sandbox(sandbox).giveUp(runner, generation, confirmedAt)))
    assigned.remove(sandbox, generation)
  }
  return again(options, forEachAtOnce(batch, tell))
}

async function again({ clock }: WatchOptions, work: Promise<void>): Promise<number> {
  try {
    await work
    return clock.now()
  } catch (thrown) {
    logUnforeseen('tell the sandboxes of a runner', thrown)
    return clock.now() + tryAgainMs
  }
}

function logUnforeseen(what: string, thrown: unknown): void {
  const error = thrown instanceof AppError ? thrown : fromPlatform(thrown, what)
  if (error.code === 'internal') logFailure(what, error)
}
