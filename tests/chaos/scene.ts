/** What a chaos run runs on: a platform of two regions and three runners with little room, a relay before each of its doors, and three clients of two accounts. */

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { paths } from '@portico/deploy/checkout'
import { openPlatform, type Platform } from '@portico/deploy/local'
import { Portico } from '@portico/sdk'
import { Relay } from '../kit/relay.ts'
import { runnerState } from '../kit/runner-state.ts'
import { giveTemplates, keepTemplates } from '../kit/templates.ts'
import type { Client } from './model.ts'

export interface ChaosClient extends Client {
  readonly portico: Portico
  readonly account: string
  readonly key: string
}

export interface Scene extends AsyncDisposable {
  readonly platform: Platform
  readonly clients: readonly ChaosClient[]
  /** Between each runner and the front door. */
  readonly tunnels: readonly Relay[]
  /** Between the clients and the front door. */
  readonly callers: Relay
  /** Sandboxes that each runner takes. */
  readonly slots: readonly number[]
  /** What the parts printed last. */
  log(): string
}

/** A runner of a run. */
export interface RunnerShape {
  readonly region: 'us' | 'eu'
  /** Sandboxes that it takes: few enough that the run knows refusals, too. */
  readonly slots: number
}

const logKept = 400_000

/** Opens one; `tell` hears what is left when it is closed. */
export async function openScene(shapes: readonly RunnerShape[], tell: (left: string) => void): Promise<Scene> {
  await mkdir(paths.temporary, { recursive: true })
  const stateDir = await mkdtemp(join(paths.temporary, 'chaos-'))
  const slots = shapes.map((shape) => shape.slots)
  const tunnels = slots.map(() => new Relay())
  const callers = new Relay()
  let printed = ''
  const close = async (platform?: Platform) => {
    await platform?.close()
    for (const { stateDir: folder } of platform?.fleet ?? []) {
      const { machines, processes, strays } = await runnerState(folder)
      for (const one of [...machines, ...processes, ...strays]) tell(`${one} is left when all is closed`)
      await keepTemplates(folder)
    }
    for (const relay of [...tunnels, callers]) await relay[Symbol.asyncDispose]()
    await rm(stateDir, { recursive: true, force: true })
  }
  try {
    const platform = await openPlatform({
      stateDir,
      fleet: shapes.map(({ region }) => region),
      poolSize: 0,
      runnerSettings: slots.map((maxSandboxes) => ({ maxSandboxes, memoryMib: 4096 })),
      tunnelPort: async (frontDoor, runner) => (await tunnels[runner]?.open(frontDoor)) ?? frontDoor,
      worker: join(import.meta.dirname, 'worker', 'worker.ts'),
      variables: { UNREACHABLE_AFTER_SECONDS: '2' },
      log: (text) => {
        printed = (printed + text).slice(-logKept)
      },
    })
    for (const runner of platform.fleet) await giveTemplates(runner.stateDir)
    const port = await callers.open(platform.frontDoor.port)
    const clients = await clientsOf(platform, `http://127.0.0.1:${port}`)
    return {
      platform,
      clients,
      tunnels,
      callers,
      slots,
      log: () => printed,
      [Symbol.asyncDispose]: () => close(platform),
    }
  } catch (error) {
    await close()
    throw new Error(`${String(error)}\n${printed.slice(-8000)}`, { cause: error })
  }
}

async function clientsOf(platform: Platform, baseUrl: string): Promise<ChaosClient[]> {
  const { admin, account, apiKeys } = platform
  const second = await admin.createAccount('second')
  const keys = [
    { name: 'first-us', region: 'us', account, key: apiKeys.us ?? '' },
    { name: 'first-eu', region: 'eu', account, key: apiKeys.eu ?? '' },
    { name: 'second-us', region: 'us', account: second, key: await admin.createKey(second, 'us', 'chaos') },
  ]
  return keys.map((one) => ({ ...one, portico: new Portico({ baseUrl, apiKey: one.key }) }))
}
