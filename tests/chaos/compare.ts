/** What the parts of a platform at rest tell differently of each other: the API's lists, the runners' records, the machines' processes, the model. One sentence each. */

import { type RunnerState, runnerState } from '../kit/runner-state.ts'
import { read } from './accounts.ts'
import { twice } from './model.ts'
import type { World } from './operations.ts'
import type { ChaosClient } from './scene.ts'

interface Listed {
  readonly id: string
  readonly status: string
  readonly labels: Readonly<Record<string, string>>
  readonly forked_from?: string
}

interface View {
  /** What the API lists, with the client whose list it is. */
  readonly listed: readonly (Listed & { client: ChaosClient })[]
  readonly runners: readonly RunnerState[]
}

async function view({ scene: { platform, clients } }: World): Promise<View> {
  const lists = await Promise.all(
    clients.map(async (client) => {
      const { runs } = (await read(platform.url, client, '/v1/runs')) as { runs: Listed[] }
      return runs.map((run) => ({ ...run, client }))
    }),
  )
  return {
    listed: lists.flat(),
    runners: await Promise.all(platform.fleet.map(({ stateDir }) => runnerState(stateDir))),
  }
}

/** What the parts tell differently of each other. */
export async function differences(world: World): Promise<string[]> {
  const seen = await view(world)
  return [
    ...sandboxDifferences(world, seen),
    ...(await snapshotDifferences(world, seen.runners)),
    ...(await machineDifferences(world, seen.runners)),
    ...(await useDifferences(world, seen.listed)),
  ]
}

function sandboxDifferences({ model }: World, { listed, runners }: View): string[] {
  const records = runners.flatMap((runner) => runner.records)
  const recordOf = new Map(records.map((record) => [record.sandbox, record]))
  const listedIds = listed.map(({ id }) => id)
  const found = [
    ...twice(listedIds).map((id) => `${id} is twice in the lists`),
    ...twice(records.map(({ sandbox }) => sandbox)).map((id) => `${id} is twice on the runners`),
  ]
  for (const one of listed) {
    const known = model.sandboxes.get(one.id)
    const explained = known === undefined && model.explains(one.client, one)
    if (known === undefined && !explained) found.push(`${one.id} is listed and nobody asked for it`)
    if (known?.exists === 'no') found.push(`${one.id} is listed and was destroyed`)
    // What is still being made for nobody ends with its limit, or with the destroy that follows.
    if (explained && one.status === 'creating') continue
    const state = recordOf.get(one.id)?.state ?? 'not there'
    if (state !== one.status) found.push(`${one.id} is ${one.status} and on its runner ${state}`)
    else if (known !== undefined && known.state !== 'unsure' && known.state !== state)
      found.push(`${one.id} is ${state} and was left ${known.state}`)
  }
  const isListed = new Set(listedIds)
  for (const { sandbox, state } of records)
    if (!isListed.has(sandbox)) found.push(`${sandbox} is ${state} on a runner and not listed`)
  for (const { handle, exists } of model.sandboxes.values())
    if (exists === 'yes' && !isListed.has(handle.id)) found.push(`${handle.id} is lost: it is not listed`)
  return found
}

async function snapshotDifferences(world: World, runners: readonly RunnerState[]): Promise<string[]> {
  const { snapshots, unsettledSnapshots } = world.model
  const listed = await snapshotIds(world)
  const found: string[] = []
  for (const { id, exists } of snapshots.values()) {
    if (exists === 'yes' && !listed.has(id)) found.push(`snapshot ${id} is lost: it is not listed`)
    if (exists === 'no' && listed.has(id)) found.push(`snapshot ${id} is listed and was deleted`)
  }
  const onRunners = runners.flatMap((runner) => runner.snapshots)
  for (const id of listed) if (!onRunners.includes(id)) found.push(`snapshot ${id} is listed and on no runner`)
  const extra = onRunners.filter((id) => !listed.has(id))
  const perhaps = [...snapshots.values()].filter(({ exists }) => exists === 'perhaps').length
  // What was never answered is swept from its runner after ten minutes.
  if (extra.length > unsettledSnapshots + perhaps)
    found.push(`snapshots ${extra.join(', ')} are on runners and not listed`)
  return found
}

/** Each runner by itself: records, folders and processes of machines, and the room that it and the front door believe to be left. */
async function machineDifferences(world: World, runners: readonly RunnerState[]): Promise<string[]> {
  const { platform, slots } = world.scene
  const seen = await platform.admin.runners()
  return runners.flatMap(({ records, processes, machines, strays }, index) => {
    const name = `runner ${index + 1}`
    const running = records.flatMap(({ machine, state }) => (state === 'running' && machine ? machine.id : [])).sort()
    const found = strays.map((stray) => `${name}: ${stray} belongs to nobody`)
    if (processes.join() !== running.join())
      found.push(`${name}: machines run: ${processes.join(' ')}; of sandboxes: ${running.join(' ')}`)
    if (machines.join() !== running.join())
      found.push(`${name}: machines have folders: ${machines.join(' ')}; of sandboxes: ${running.join(' ')}`)
    const info = seen.find(({ id }) => id === platform.fleet[index]?.id)
    if (info?.connected !== true) found.push(`${name} is not connected`)
    if (info?.sandboxes !== records.length)
      found.push(`${name}: the front door sees ${info?.sandboxes} sandboxes, it has ${records.length}`)
    const free = (slots[index] ?? 0) - running.length
    if (info?.free_slots !== free)
      found.push(`${name}: the front door sees ${info?.free_slots} places free, it has ${free}`)
    return found
  })
}

/** What an account is said to use, against what its lists show. */
async function useDifferences({ scene: { platform, clients } }: World, listed: View['listed']): Promise<string[]> {
  const accounts = Map.groupBy(clients, ({ account }) => account)
  const found: string[] = []
  for (const account of accounts.keys()) {
    const running = listed.filter(({ client, status }) => client.account === account && status === 'running').length
    const { sandboxes, mem_mib } = await platform.admin.inUse(account)
    if (sandboxes !== running || mem_mib !== 128 * running)
      found.push(`account ${account} is said to use ${sandboxes} sandboxes and ${mem_mib} MiB, and ${running} run`)
  }
  return found
}

async function snapshotIds({ scene: { platform, clients } }: World): Promise<Set<string>> {
  const lists = await Promise.all(
    clients.map(
      async (client) => (await read(platform.url, client, '/v1/snapshots')) as { snapshots: { id: string }[] },
    ),
  )
  return new Set(lists.flatMap(({ snapshots }) => snapshots.map(({ id }) => id)))
}

/** What is left when all is destroyed. */
export async function leftovers(world: World): Promise<string[]> {
  const { listed, runners } = await view(world)
  // One that was being made while it could not be destroyed is given up later.
  for (const { id, client } of listed)
    await client.portico
      .get(id)
      .then((one) => one?.destroy())
      .catch(() => undefined)
  return [
    ...listed.map(({ id, status }) => `${id} is still ${status}`),
    ...runners.flatMap(({ records }) => records.map(({ sandbox }) => `${sandbox} is still on its runner`)),
    ...(await machineDifferences(world, runners)),
    ...(await useDifferences(world, listed)),
  ]
}
