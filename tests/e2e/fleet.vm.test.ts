/** One front door, two regions, three runners of different size, two accounts: who gets what where, and who may see it. */

import { setTimeout as wait } from 'node:timers/promises'
import { Portico, type Sandbox } from '@portico/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { atMost } from '../kit/at-most.ts'
import { type TestPlatform, testPlatform } from '../kit/platform.ts'
import { runnerState } from '../kit/runner-state.ts'

/** Ten for each account in each region: the runners of `us` are full then. */
const each = 10
const slots = [13, 7, 24]

interface Client {
  readonly region: string
  readonly key: string
  readonly portico: Portico
  readonly sandboxes: Sandbox[]
}

describe('a fleet', () => {
  let platform: TestPlatform
  let clients: Client[]

  beforeAll(async () => {
    platform = await testPlatform({
      fleet: ['us', 'us', 'eu'],
      poolSize: 0,
      runnerSettings: slots.map((maxSandboxes) => ({ maxSandboxes, memoryMib: 16_384 })),
    })
    const { admin, apiKeys, url } = platform.platform
    const second = await admin.createAccount('second')
    const keys = [
      ...Object.entries(apiKeys),
      ...(await atMost(
        1,
        ['us', 'eu'],
        async (region) => [region, await admin.createKey(second, region, 'test')] as const,
      )),
    ]
    clients = keys.map(([region, key]) => {
      return { region, key, portico: new Portico({ baseUrl: url, apiKey: key }), sandboxes: [] }
    })
  })

  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]()
  })

  it('places a burst by region and by the room of each runner', { timeout: 600_000 }, async () => {
    const wanted = Array.from({ length: each }, () => clients).flat()
    await atMost(4, wanted, async (client) => {
      client.sandboxes.push(await client.portico.create({ image: 'python', memMiB: 256, diskMiB: 512, timeoutSec: 0 }))
    })
    for (const { region, sandboxes } of clients) for (const one of sandboxes) expect(one.region).toBe(region)
    const states = await Promise.all(platform.platform.fleet.map(({ stateDir }) => runnerState(stateDir)))
    const placed = states.map(({ records }) => records.map(({ sandbox }) => sandbox))
    expect(placed.map((ids) => ids.length)).toEqual([13, 7, 20])
    const idsIn = (wantedRegion: string) =>
      clients.flatMap(({ region, sandboxes }) => (region === wantedRegion ? sandboxes.map(({ id }) => id) : []))
    expect([...(placed[0] ?? []), ...(placed[1] ?? [])].sort()).toEqual(idsIn('us').sort())
    expect(placed[2]?.toSorted()).toEqual(idsIn('eu').sort())
    await runnersShow([
      { sandboxes: 13, free_slots: 0 },
      { sandboxes: 7, free_slots: 0 },
      { sandboxes: 20, free_slots: 4 },
    ])
  })

  it('refuses what a region has no room for, while another one has', async () => {
    const [us, eu] = ['us', 'eu'].map((region) => clients.find((client) => client.region === region))
    const create = (key = '') =>
      platform.call('/v1/runs', {
        method: 'POST',
        key,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ image: 'python', mem_mib: 256, disk_mib: 512 }),
      })
    const refused = await create(us?.key)
    expect(refused.status).toBe(429)
    expect(await refused.json()).toMatchObject({ code: 'capacity', retryable: true })
    const made = await create(eu?.key)
    expect(made.ok).toBe(true)
    const { id } = (await made.json()) as { id: string }
    await (await eu?.portico.get(id))?.destroy()
  })

  it('runs a command in each, and answers with that one’s output', { timeout: 300_000 }, async () => {
    const all = clients.flatMap(({ sandboxes }) => sandboxes)
    const outputs = await atMost(4, all, async (one) => (await one.exec(`echo ${one.id}`)).stdout)
    expect(outputs).toEqual(all.map(({ id }) => `${id}\n`))
  })

  it('shows each key its own account and region, and nothing of the others', async () => {
    for (const client of clients) {
      const own = client.sandboxes.map(({ id }) => id)
      expect((await client.portico.list()).map(({ id }) => id).sort()).toEqual(own.sort())
      for (const { sandboxes } of clients.filter((other) => other !== client)) {
        const path = `/v1/runs/${sandboxes[0]?.id}`
        const body = { headers: { 'content-type': 'application/json' }, body: '{"command":"true"}' }
        const tries = [
          platform.call(path, { key: client.key }),
          platform.call(`${path}/exec`, { key: client.key, method: 'POST', ...body }),
          platform.call(path, { key: client.key, method: 'DELETE' }),
        ]
        for (const response of await Promise.all(tries)) {
          expect(response.status).toBe(404)
          expect(await response.json()).toMatchObject({ code: 'sandbox_not_found' })
        }
      }
    }
  })

  it('leaves nothing once all are destroyed', { timeout: 300_000 }, async () => {
    await atMost(
      4,
      clients.flatMap(({ sandboxes }) => sandboxes),
      (one) => one.destroy(),
    )
    for (const { portico } of clients) expect(await portico.list()).toEqual([])
    await runnersShow(slots.map((free_slots) => ({ sandboxes: 0, free_slots })))
    for (const { stateDir } of platform.platform.fleet)
      expect(await runnerState(stateDir)).toMatchObject({ records: [], processes: [], machines: [], strays: [] })
  })

  /** Reports come a moment after what they tell of. */
  async function runnersShow(expected: readonly { sandboxes: number; free_slots: number }[]): Promise<void> {
    const limit = AbortSignal.timeout(30_000)
    for (;;) {
      const seen = await platform.platform.admin.runners()
      const shown = platform.platform.fleet.map(({ id }) => {
        const { sandboxes, free_slots } = seen.find((runner) => runner.id === id) ?? {}
        return { sandboxes, free_slots }
      })
      if (JSON.stringify(shown) === JSON.stringify(expected)) return
      if (limit.aborted) expect(shown).toEqual(expected)
      await wait(100)
    }
  }
})
