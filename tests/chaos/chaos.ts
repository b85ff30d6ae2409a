/**
 * A run of chaos: clients work on a platform of their own while things go wrong, as a seed says; then all is compared.
 *
 *   open ─▶ lanes of operations ∥ faults, until the time is up ─▶ rest ─▶ compare ─▶ destroy all ─▶ compare ─▶ close
 *
 * The seed decides what is tried and what goes wrong, and in which order. What meets what is up to the clock: the same seed is the same kind of weather, not the
 * same drops.
 */

import { setTimeout as wait } from 'node:timers/promises'
import { makeFaults } from './faults.ts'
import { Journal } from './journal.ts'
import { Model } from './model.ts'
import { create, operate, type World } from './operations.ts'
import { Random } from './random.ts'
import { type ChaosClient, openScene, type RunnerShape } from './scene.ts'
import { settle } from './settle.ts'

export interface ChaosOptions {
  readonly seed: number
  /** Of operations and faults, and longer if each fault has not been once by then; opening and comparing come on top. */
  readonly seconds: number
  /** Clients that work at the same time. */
  readonly lanes: number
  readonly fleet: readonly RunnerShape[]
}

/** What `npm run chaos` runs on: room for ten, of which the clients use eight at most. */
export const wholeFleet = [
  { region: 'us', slots: 4 },
  { region: 'us', slots: 3 },
  { region: 'eu', slots: 3 },
] as const

/** Runs it; what it found is in the journal. Rejects only if it could not run at all. */
export async function chaos(options: ChaosOptions): Promise<{ journal: Journal; log: string }> {
  const journal = new Journal()
  const scene = await openScene(options.fleet, (left) => journal.find(left))
  let last = 0
  const world: World = { scene, model: new Model<ChaosClient>(), journal, number: () => ++last }
  try {
    await begin(world)
    await storm(world, options)
    await settle(world)
  } catch (error) {
    journal.find(`the run broke off: ${error instanceof Error ? error.stack : String(error)}`)
  } finally {
    await scene[Symbol.asyncDispose]()
  }
  return { journal, log: scene.log() }
}

/** A sandbox on each runner while nothing goes wrong: the first of its kind on a host takes a boot, which would be most of a short run. */
async function begin(world: World): Promise<void> {
  const { clients, platform } = world.scene
  await Promise.all(
    platform.fleet.map(async ({ region }) => {
      const client = clients.find((one) => one.region === region)
      if (client) await create(world, client)
    }),
  )
  world.journal.trace('=== every runner has a sandbox')
}

/** Between two operations of a lane: with nothing to do, it would do nothing but look. */
const breathMs = [0, 100] as const

async function storm(world: World, { seed, seconds, lanes }: ChaosOptions): Promise<void> {
  let over = false
  const lane = async (number: number) => {
    const random = new Random(seed * 1000 + number)
    while (!over) {
      await operate(world, random)
      await wait(random.between(...breathMs))
    }
  }
  const faults = makeFaults(world, new Random(seed), AbortSignal.timeout(seconds * 1000)).finally(() => {
    over = true
  })
  await Promise.all([faults, ...Array.from({ length: lanes }, (_, number) => lane(number + 1))])
}
