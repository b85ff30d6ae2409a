/** What goes wrong in a chaos run, one thing at a time, and how long it takes until calls get through again. */

import { setTimeout as wait } from 'node:timers/promises'
import { runnerState } from '../kit/runner-state.ts'
import type { World } from './operations.ts'
import type { Random } from './random.ts'

/** How often each is in a round; the first round has each once. */
const rounds = {
  'tunnel cut': 3,
  'clients cut': 2,
  'runner killed': 3,
  'front door killed': 1,
  'front door restarted': 1,
  'sandbox object evicted': 5,
  'account object evicted': 2,
  'region object evicted': 2,
  'runner object evicted': 2,
} as const
export type Fault = keyof typeof rounds
export const faults = Object.keys(rounds) as readonly Fault[]

const recoveryMs = 45_000
const pauseMs = [300, 1800] as const
/** For so long a killed runner stays away; after 2 s its sandboxes are called unreachable. */
const awayMs = [0, 4000] as const

/** Makes things go wrong until the signal aborts, and each once at least. */
export async function makeFaults(world: World, random: Random, signal: AbortSignal): Promise<void> {
  for (const fault of random.shuffled(faults)) {
    await wait(random.between(...pauseMs))
    await happen(world, random, fault)
  }
  while (!signal.aborted) {
    for (const fault of random.shuffled(faults.flatMap((one) => Array.from({ length: rounds[one] }, () => one)))) {
      await wait(random.between(...pauseMs), undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      await happen(world, random, fault)
    }
  }
}

async function happen(world: World, random: Random, fault: Fault): Promise<void> {
  const { journal } = world
  journal.trace(`--- ${fault}`)
  const start = performance.now()
  // A fault that does not heal in time is a finding, and the run goes on to tell what else it finds.
  try {
    const from = await doers[fault](world, random)
    if (from === undefined) return
    const ms = performance.now() - from
    journal.fault(fault, ms)
    journal.trace(`--- back ${Math.round(ms)} ms after ${fault}`)
  } catch (error) {
    journal.find(`${fault}: no recovery within ${Math.round(performance.now() - start)} ms: ${String(error)}`)
  }
}

/** Each resolves when calls get through again, with the moment from which that counts. */
const doers: Readonly<Record<Fault, (world: World, random: Random) => Promise<number | undefined>>> = {
  async 'tunnel cut'(world, random) {
    const index = anyRunner(world, random)
    const relay = world.scene.tunnels[index]
    const back = relay?.reconnected()
    const start = performance.now()
    relay?.cut()
    await back
    await runnersServe(world, [index])
    return start
  },
  async 'clients cut'({ scene: { callers, clients } }) {
    const start = performance.now()
    callers.cut()
    await clients[0]?.portico.list({ signal: AbortSignal.timeout(recoveryMs) })
    return start
  },
  async 'runner killed'(world, random) {
    const { platform } = world.scene
    const index = anyRunner(world, random)
    await platform.killRunner(index)
    await wait(random.between(...awayMs))
    const start = performance.now()
    await platform.startRunner(index)
    await runnersServe(world, [index])
    return start
  },
  async 'front door killed'(world) {
    const { platform } = world.scene
    await platform.killFrontDoor()
    const start = performance.now()
    await platform.restartFrontDoor()
    await allServe(world)
    return start
  },
  async 'front door restarted'(world) {
    const start = performance.now()
    await world.scene.platform.restartFrontDoor()
    await allServe(world)
    return start
  },
  async 'sandbox object evicted'(world, random) {
    // One with work under way, if there is one.
    const all = [...world.model.sandboxes.values()].filter(({ exists }) => exists === 'yes')
    const one = random.pick(all.filter(({ busy }) => busy)) ?? random.pick(all)
    if (one === undefined) return undefined
    const start = performance.now()
    await evict(world, 'SANDBOXES', one.handle.id)
    await one.client.portico.get(one.handle.id, { signal: AbortSignal.timeout(recoveryMs) })
    return start
  },
  async 'account object evicted'(world, random) {
    const client = random.pick(world.scene.clients)
    const start = performance.now()
    await evict(world, 'ACCOUNTS', client?.account ?? '')
    await client?.portico.list({ signal: AbortSignal.timeout(recoveryMs) })
    return start
  },
  async 'region object evicted'(world, random) {
    const start = performance.now()
    await evict(world, 'REGIONS', random.pick(world.scene.platform.fleet)?.region ?? '')
    await world.scene.platform.admin.runners()
    return start
  },
  async 'runner object evicted'(world, random) {
    const index = anyRunner(world, random)
    const start = performance.now()
    await evict(world, 'RUNNERS', world.scene.platform.fleet[index]?.id ?? '')
    await runnersServe(world, [index])
    return start
  },
}

async function evict({ scene: { platform } }: World, binding: string, name: string): Promise<void> {
  const response = await platform.admin.fetch('POST', `/chaos/evict/${binding}/${name}`)
  if (!response.ok) throw new Error(`cannot evict ${binding} ${name}: ${response.status}`)
  await response.arrayBuffer()
}

function anyRunner({ scene: { platform } }: World, random: Random): number {
  return Math.floor(random.next() * platform.fleet.length)
}

export async function allServe(world: World): Promise<void> {
  await runnersServe(
    world,
    world.scene.platform.fleet.map((_, index) => index),
  )
}

/** Resolves when a command gets through to a sandbox of each of these runners, or where one has none, when it is connected. */
async function runnersServe(world: World, indexes: readonly number[]): Promise<void> {
  const limit = AbortSignal.timeout(recoveryMs)
  for (const index of indexes) {
    while (!(await serves(world, index, limit).catch(() => false))) {
      if (limit.aborted) throw new Error(`runner ${index + 1} does not serve`)
      await wait(50)
    }
  }
}

async function serves({ scene: { platform }, model }: World, index: number, signal: AbortSignal): Promise<boolean> {
  const runner = platform.fleet[index]
  if (runner === undefined) return true
  const { records } = await runnerState(runner.stateDir)
  const running = records.filter(({ state }) => state === 'running')
  const known = running.flatMap(({ sandbox }) => model.sandboxes.get(sandbox) ?? [])
  const one = known.find(({ exists, state }) => exists === 'yes' && state === 'running')
  if (one !== undefined) return (await one.handle.exec('true', { timeoutSec: 5, signal })).exitCode === 0
  return (await platform.admin.runners()).some(({ id, connected }) => id === runner.id && connected)
}
