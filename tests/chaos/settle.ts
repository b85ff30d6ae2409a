/**
 * After the storm: waits until everything has come to rest, within a limit, and compares what each part believes. The API's lists, the runners' own records,
 * the machines' processes and the model must tell of the same sandboxes; then all are destroyed and nothing may be left of them.
 */

import { setTimeout as wait } from 'node:timers/promises'
import { checkAccounts } from './accounts.ts'
import { differences, leftovers } from './compare.ts'
import { allServe } from './faults.ts'
import type { ModelSandbox } from './model.ts'
import { destroy, judge, type World } from './operations.ts'
import type { ChaosClient } from './scene.ts'

/** A runner reports every 30 s, and on its second report the front door has settled what belongs to nobody. */
const restLimitMs = 100_000
/** An interrupted creation is given up after this long. */
const emptyLimitMs = 160_000

/** Compares everything, and leaves nothing. What does not agree is a finding. */
export async function settle(world: World): Promise<void> {
  const { journal } = world
  journal.trace('=== settling')
  const start = performance.now()
  await allServe(world).catch((error: unknown) => journal.find(`at rest: ${String(error)}`))
  await agreed('at rest', world, restLimitMs, differences)
  journal.notes.push(`all parts agreed ${seconds(start)} s after the last fault`)
  await checkLogs(world)
  await checkAccounts(world)
  await destroyAll(world)
  await agreed('at the end', world, emptyLimitMs, leftovers)
  await countPromises(world)
  await checkAccounts(world)
}

/** Waits until there is no difference any more; those that stay are findings. */
async function agreed(
  when: string,
  world: World,
  limitMs: number,
  look: (world: World) => Promise<string[]>,
): Promise<void> {
  const limit = performance.now() + limitMs
  for (;;) {
    const found = await look(world).catch((error: unknown) => [`cannot compare: ${String(error)}`])
    if (found.length === 0) return
    if (performance.now() > limit) {
      for (const one of found) world.journal.find(`${when}: ${one}`)
      return
    }
    await wait(250)
  }
}

/** Reads what was written into each sandbox, and in one that was restored from each snapshot. */
async function checkLogs(world: World): Promise<void> {
  const { journal, model } = world
  for (const one of await runningFirst(world)) {
    try {
      await one.handle.resume()
      one.state = 'running'
      judge(world, one, (await one.handle.exec('cat /root/log 2>/dev/null || true')).stdout)
    } catch (error) {
      journal.find(`at rest: ${one.handle.id} cannot be read: ${String(error)}`)
    }
    await destroy(world, one)
  }
  for (const { id, client, exists, tokens } of model.snapshots.values()) {
    if (exists !== 'yes') continue
    try {
      const handle = await client.portico.restore(id, { timeoutSec: 0 })
      model.add(handle, client, tokens)
      const one = model.sandboxes.get(handle.id)
      if (one === undefined) continue
      judge(world, one, (await handle.exec('cat /root/log 2>/dev/null || true')).stdout)
      await destroy(world, one)
    } catch (error) {
      journal.find(`at rest: snapshot ${id} cannot be read: ${String(error)}`)
    }
  }
}

/** Those that exist, first those that run, as they make room for the others to wake. What unanswered calls made is in the way and goes. */
async function runningFirst({ scene, model, journal }: World): Promise<ModelSandbox<ChaosClient>[]> {
  const listed = (await Promise.all(scene.clients.map(({ portico }) => portico.list()))).flat()
  const running = new Set(listed.filter(({ status }) => status === 'running').map(({ id }) => id))
  for (const one of listed.filter(({ id }) => !model.sandboxes.has(id)))
    await one.destroy().catch((error: unknown) => journal.trace(`destroy ${one.id}: ${String(error)}`))
  const all = [...model.sandboxes.values()].filter(({ exists }) => exists === 'yes')
  return all.sort((a, b) => Number(running.has(b.handle.id)) - Number(running.has(a.handle.id)))
}

/** Room that is kept for nobody any more ends by itself after 5 minutes, so it is no finding. */
async function countPromises({ scene: { platform }, journal }: World): Promise<void> {
  for (const region of new Set(platform.fleet.map((runner) => runner.region))) {
    const response = await platform.admin.fetch('GET', `/chaos/promises/REGIONS/${region}`)
    const { promises } = (await response.json()) as { promises: number }
    if (promises > 0) journal.notes.push(`region ${region} still keeps room for ${promises} sandboxes that are gone`)
  }
}

async function destroyAll(world: World): Promise<void> {
  for (const { portico } of world.scene.clients) {
    for (const one of await portico.list()) {
      const known = world.model.sandboxes.get(one.id)
      if (known) await destroy(world, known)
      else await one.destroy().catch((error: unknown) => world.journal.trace(`destroy ${one.id}: ${String(error)}`))
    }
    for (const { id } of await portico.snapshots()) await portico.deleteSnapshot(id)
  }
  for (const snapshot of world.model.snapshots.values()) snapshot.exists = 'no'
}

function seconds(start: number): string {
  return ((performance.now() - start) / 1000).toFixed(1)
}
