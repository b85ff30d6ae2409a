/** What a runner's object does by itself, on a clock of the test, with the real tables and sandboxes that only note what they are told. */

import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { newRunnerId } from '@portico/shared/ids'
import { describe, expect, test } from 'vitest'
import type { Outcome } from '../src/outcome.ts'
import type { Objects, SandboxPort } from '../src/ports.ts'
import { Standing } from '../src/runner/standing.ts'
import { type WatchOptions, watch } from '../src/runner/watch.ts'
import { AssignedTable } from '../src/store/assigned.ts'

type Told = 'unreachable' | 'giveUp' | 'evacuate'

interface Scene {
  readonly clock: FakeClock
  readonly standing: Standing
  readonly assigned: AssignedTable
  readonly told: string[]
  isConnected: boolean
  /** What a sandbox answers; by default it does as it is told. */
  answer: (sandbox: string, what: Told) => Promise<Outcome<unknown>>
  /** One alarm, of a memory that knows nothing. */
  alarm(): Promise<number | undefined>
}

const well: Outcome<unknown> = { ok: true, value: { status: 'hibernated' } }
const failed: Outcome<unknown> = { ok: false, error: { code: 'no_space', message: 'cannot: full' } }

function withRunner(work: (scene: Scene) => unknown): Promise<unknown> {
  const stub = env.RUNNERS.get(env.RUNNERS.idFromName(newRunnerId()))
  return runInDurableObject(stub, async (_object, { storage }) => {
    const clock = new FakeClock(1_000_000)
    const scene: Scene = {
      clock,
      standing: new Standing(storage.kv),
      assigned: new AssignedTable(storage.sql),
      told: [],
      isConnected: false,
      answer: async () => well,
      alarm: () =>
        watch({ ...options(), standing: new Standing(storage.kv), assigned: new AssignedTable(storage.sql) }),
    }
    const options = (): Omit<WatchOptions, 'standing' | 'assigned'> => ({
      runner: 'r',
      objects: { sandbox: (id: string) => noting(scene, id) } as unknown as Objects,
      clock,
      unreachableAfterMs: 30_000,
      isConnected: () => scene.isConnected,
    })
    await work(scene)
  })
}

function noting(scene: Scene, sandbox: string): Partial<SandboxPort> {
  const note = (what: Told) => async (_runner: string, _generation: number, at?: number) => {
    scene.told.push(at === undefined ? `${what} ${sandbox}` : `${what} ${sandbox} ${at}`)
    return (await scene.answer(sandbox, what)) as never
  }
  return { unreachable: note('unreachable'), giveUp: note('giveUp'), evacuate: note('evacuate') }
}

function give({ assigned }: Scene, count: number, told: string | null = 'running'): void {
  for (let index = 0; index < count; index++) {
    assigned.put({ sandbox: `s${index}`, generation: 1, confirmed: true, since: 0, told })
  }
}

describe('a runner that is away', () => {
  test('has its sandboxes told after the stated time, not before, and each once', () =>
    withRunner(async (scene) => {
      give(scene, 3)
      scene.assigned.put({ sandbox: 'unmade', generation: 1, confirmed: false, since: 0, told: null })
      scene.standing.away(scene.clock.now())
      await scene.clock.advance(29_999)
      expect(await scene.alarm()).toBe(1_030_000)
      expect(scene.told).toEqual([])
      await scene.clock.advance(1)
      expect(await scene.alarm()).toBe(scene.clock.now())
      expect(scene.told.sort()).toEqual(['s0', 's1', 's2'].map((id) => `unreachable ${id} 1000000`))
      expect(await scene.alarm()).toBeUndefined()
      expect(scene.told).toHaveLength(3)
    }))

  test('has many told a hundred at a time, whoever goes on', () =>
    withRunner(async (scene) => {
      give(scene, 250)
      scene.standing.away(scene.clock.now() - 30_000)
      const counts: number[] = []
      while ((await scene.alarm()) !== undefined) counts.push(scene.told.length)
      expect(counts).toEqual([100, 200, 250])
      expect(new Set(scene.told).size).toBe(250)
    }))

  test('has those told again that could not be told', () =>
    withRunner(async (scene) => {
      give(scene, 3)
      scene.standing.away(scene.clock.now() - 30_000)
      scene.answer = async (id) => (id === 's1' ? failed : well)
      expect(await scene.alarm()).toBe(scene.clock.now() + 5_000)
      scene.answer = async () => well
      await scene.alarm()
      expect(scene.told.filter((one) => one.includes('s1'))).toHaveLength(2)
      expect(scene.told).toHaveLength(4)
      expect(await scene.alarm()).toBeUndefined()
    }))

  test('that returns while they are told leaves a mark on each of them, so that the next status tells them otherwise', () =>
    withRunner(async (scene) => {
      give(scene, 1)
      scene.standing.away(scene.clock.now() - 30_000)
      scene.answer = async () => {
        expect(scene.assigned.get('s0')?.away).toBe(1)
        scene.assigned.mark('s0', 1, 0)
        return well
      }
      await scene.alarm()
      expect(scene.assigned.get('s0')?.away).toBe(2)
    }))

  test('is away since it went first, as long as it has not said a word', () =>
    withRunner(async ({ standing }) => {
      standing.away(5)
      standing.away(9)
      expect(standing.awaySince).toBe(5)
      standing.confirmed(10)
      expect([standing.awaySince, standing.confirmedAt]).toEqual([undefined, 10])
    }))

  test('and is connected again when the alarm comes is left alone, and looked at again', () =>
    withRunner(async (scene) => {
      give(scene, 1)
      scene.standing.away(0)
      scene.isConnected = true
      expect(await scene.alarm()).toBe(scene.clock.now() + 30_000)
      expect(scene.told).toEqual([])
    }))
})

describe('a runner that is emptied', () => {
  test('has its sandboxes put to sleep a few at a time, until none runs', () =>
    withRunner(async (scene) => {
      give(scene, 6)
      scene.assigned.put({ sandbox: 'asleep', generation: 1, confirmed: true, since: 0, told: 'hibernated' })
      scene.assigned.put({ sandbox: 'broken', generation: 1, confirmed: true, since: 0, told: 'error' })
      scene.isConnected = true
      scene.standing.setDrain('hibernate')
      expect(await scene.alarm()).toBe(scene.clock.now())
      expect(scene.told).toHaveLength(4)
      expect(scene.assigned.counts()).toEqual({ running: 2, hibernated: 5 })
      await scene.alarm()
      expect(scene.assigned.counts()).toEqual({ running: 0, hibernated: 7 })
      expect(await scene.alarm()).toBe(scene.clock.now() + 30_000)
      expect(scene.told).toHaveLength(6)
      scene.assigned.tell('s3', 1, 'running')
      await scene.clock.advance(30_000)
      await scene.alarm()
      expect(scene.told.at(-1)).toBe('evacuate s3')
    }))

  test('is not held up by those that cannot sleep, and asks them again later', () =>
    withRunner(async (scene) => {
      give(scene, 6)
      scene.isConnected = true
      scene.standing.setDrain('hibernate')
      scene.answer = async (id) => (id < 's4' ? failed : well)
      await scene.alarm()
      await scene.alarm()
      expect(scene.assigned.counts()).toEqual({ running: 4, hibernated: 2 })
      expect(await scene.alarm()).toBe(scene.clock.now() + 5_000)
      expect(scene.told).toHaveLength(6)
      await scene.clock.advance(30_000)
      await scene.alarm()
      expect(scene.told).toHaveLength(10)
    }))

  test('by waiting, or no longer, has none of them touched', () =>
    withRunner(async (scene) => {
      give(scene, 2)
      scene.isConnected = true
      for (const mode of ['wait', null] as const) {
        scene.standing.setDrain('hibernate')
        scene.standing.setDrain(mode)
        expect(await scene.alarm()).toBe(scene.clock.now() + 30_000)
      }
      expect(scene.told).toEqual([])
    }))
})

describe('a runner that was given up', () => {
  test('has its sandboxes told the last moment that it confirmed, and forgets each that knows', () =>
    withRunner(async (scene) => {
      give(scene, 150)
      scene.assigned.put({ sandbox: 'broken', generation: 1, confirmed: true, since: 0, told: 'error' })
      scene.standing.confirmed(777)
      scene.standing.setRemoved({ lost: true })
      scene.answer = async (id) => (id === 's7' ? failed : well)
      expect(await scene.alarm()).toBe(scene.clock.now() + 5_000)
      scene.answer = async () => well
      expect(await scene.alarm()).toBe(scene.clock.now())
      expect(await scene.alarm()).toBeUndefined()
      expect(scene.told).toHaveLength(151)
      expect(new Set(scene.told.map((one) => one.split(' ')[2]))).toEqual(new Set(['777']))
      expect(scene.assigned.all().map(({ sandbox }) => sandbox)).toEqual(['broken'])
    }))
})
