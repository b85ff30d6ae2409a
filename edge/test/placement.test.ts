/** Creates that come all at once, through the API: the region's object promises what there is, once. */

import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, test } from 'vitest'
import { ask, newTenant } from './client.ts'
import { ScriptedRunner } from './scripted-runner.ts'

afterEach(() => ScriptedRunner.cutAll())

async function burst(count: number, json: object = {}): Promise<number[]> {
  const { key } = await newTenant()
  const create = async () => {
    const response = await ask('/v1/runs', { key, json: { image: 'python', mem_mib: 512, vcpus: 2, ...json } })
    await response.text()
    return response.status
  }
  return (await Promise.all(Array.from({ length: count }, create))).sort()
}

const placed = (runner: ScriptedRunner) => runner.count('sandbox.create')
const times = (count: number, status: number) => Array<number>(count).fill(status)

describe('a burst of creates', () => {
  test('fills the runners to the last place, memory or vCPU, and the rest is refused', async () => {
    const [places, memory, vcpus] = [
      await ScriptedRunner.start(),
      await ScriptedRunner.start(),
      await ScriptedRunner.start(),
    ]
    await places.report({ free_slots: 2 })
    await memory.report({ free_mem_mib: 1600 })
    await vcpus.report({ free_vcpus: 5 })
    expect(await burst(12)).toEqual([...times(7, 201), ...times(5, 429)])
    expect([placed(places), placed(memory), placed(vcpus)]).toEqual([2, 3, 2])
  })

  test('goes elsewhere while a runner is drained by itself, and fits no more after an eviction', async () => {
    const [drains, takes] = [await ScriptedRunner.start(), await ScriptedRunner.start()]
    await drains.report({ draining: true })
    await takes.report({ free_slots: 3 })
    expect(await burst(2)).toEqual(times(2, 201))
    await evictDurableObject(env.REGIONS.get(env.REGIONS.idFromName('local')))
    expect(await burst(3)).toEqual([201, 429, 429])
    expect([placed(drains), placed(takes)]).toEqual([0, 3])
  })

  test('spreads over equal runners, and goes where the image is first', async () => {
    const runners = [await ScriptedRunner.start(), await ScriptedRunner.start(), await ScriptedRunner.start()]
    await runners[2]?.report({ images: ['python'] })
    expect(await burst(8)).toEqual(times(8, 201))
    expect(Math.max(...runners.map(placed)) - Math.min(...runners.map(placed))).toBeLessThanOrEqual(1)
    expect(await burst(4, { image: 'node' })).toEqual(times(4, 201))
    const image = (runner: ScriptedRunner) =>
      runner.calls.filter((call) => call.op === 'sandbox.create' && call.spec.image === 'node').length
    expect(runners.map(image)[2]).toBe(0)
  })
})
