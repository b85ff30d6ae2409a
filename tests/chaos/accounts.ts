/** What accounts are told of their past, against what is known to have happened. */

import { twice } from './model.ts'
import type { World } from './operations.ts'
import type { ChaosClient } from './scene.ts'

/** History and usage of each account: what was destroyed is in the history once, and the sums are those of what it lists. */
export async function checkAccounts(world: World): Promise<void> {
  const { clients, platform } = world.scene
  for (const [account, own] of Map.groupBy(clients, (client) => client.account)) {
    const items = (await Promise.all(own.map((client) => historyOf(platform.url, client)))).flat()
    checkHistory(world, account, items)
    const [first] = own
    if (first) await checkUsage(world, first, items)
  }
}

function checkHistory({ model, journal }: World, account: string, items: readonly HistoryItem[]): void {
  const ids = items.map(({ id }) => id)
  for (const id of twice(ids)) journal.find(`${id} is twice in the history`)
  for (const { handle, client, exists } of model.sandboxes.values()) {
    if (client.account !== account) continue
    const isPast = ids.includes(handle.id)
    if (exists === 'no' && !isPast) journal.find(`${handle.id} was destroyed and is not in the history`)
    if (exists === 'yes' && isPast) journal.find(`${handle.id} exists and is in the history`)
  }
  for (const { id, status } of items) if (status !== 'destroyed') journal.find(`${id} is ${status} in the history`)
}

async function checkUsage(
  { scene, journal }: World,
  client: ChaosClient,
  items: readonly HistoryItem[],
): Promise<void> {
  const usage = (await read(scene.platform.url, client, '/v1/usage')) as {
    history_sandboxes: number
    history_cost_cents: number
  }
  const who = `account ${client.account}`
  if (usage.history_sandboxes !== items.length)
    journal.find(`${who}: usage counts ${usage.history_sandboxes} past sandboxes, the history has ${items.length}`)
  const cost = items.reduce((sum, item) => sum + item.cost_cents, 0)
  if (Math.abs(usage.history_cost_cents - cost) > 1e-6 * Math.max(1, cost))
    journal.find(`${who}: usage tells ${usage.history_cost_cents} cents, the history ${cost}`)
}

interface HistoryItem {
  readonly id: string
  readonly status: string
  readonly cost_cents: number
}

async function historyOf(url: string, client: ChaosClient): Promise<HistoryItem[]> {
  const items: HistoryItem[] = []
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const more = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page = (await read(url, client, `/v1/runs/history?limit=50${more}`)) as {
      sandboxes: HistoryItem[]
      next_cursor?: string
    }
    items.push(...page.sandboxes)
    cursor = page.next_cursor
  }
  return items
}

/** One look at the API, with the client's key and past its relay. */
export async function read(url: string, { key }: ChaosClient, path: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${key}` }
  const response = await fetch(url + path, { headers, signal: AbortSignal.timeout(20_000) })
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`)
  return await response.json()
}
