/** What must hold of placement whatever happens to a region: no platform, a table in memory, a clock of the test. */

import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunnerReport } from '../ports.ts'
import type { Promised, ReservationStore } from '../store/reservations.ts'
import type { RunnerRow, RunnerStore } from '../store/runners.ts'
import { Fleet } from './fleet.ts'

/** Storage as the platform keeps it, without the platform. */
class Stored {
  readonly rows = new Map<string, RunnerRow>()
  readonly promises = new Map<string, Promised>()

  readonly runners: RunnerStore = {
    all: () => [...this.rows.values()],
    add: (row) => this.rows.set(row.id, { ...row, tunnel: null, seenAt: null, report: null, drain: null }),
    report: (id, tunnel, seenAt, report) => this.#change(id, { tunnel, seenAt, report }),
    disconnect: (id) => this.#change(id, { tunnel: null }),
    drain: (id, drain) => this.#change(id, { drain }),
    remove: (id) => this.rows.delete(id),
  }

  readonly reservations: ReservationStore = {
    all: () => [...this.promises.values()].sort((a, b) => a.until - b.until),
    put: (promise) => this.promises.set(promise.sandbox, promise),
    release: (sandbox) => this.promises.delete(sandbox),
  }

  #change(id: string, change: Partial<RunnerRow>): void {
    const row = this.rows.get(id)
    if (row !== undefined) this.rows.set(id, { ...row, ...change })
  }
}

/** A host as it really is: what it has been given, whatever the region believes. */
interface Host {
  readonly memMib: number
  readonly vcpus: number
  readonly slots: number
  readonly images: readonly string[]
  readonly given: Map<string, { memMib: number; vcpus: number }>
  connected: boolean
  drains: boolean
  heardAt: number
}

const host = fc.record({
  memMib: fc.integer({ min: 0, max: 16_384 }),
  vcpus: fc.integer({ min: 0, max: 32 }),
  slots: fc.integer({ min: 0, max: 8 }),
  images: fc.subarray(['python', 'node']),
})

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('place' as const),
      image: fc.constantFrom('python', 'node', 'other'),
      memMib: fc.constantFrom(128, 512, 1024, 4096),
      vcpus: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('fork' as const),
      on: fc.nat(),
      count: fc.integer({ min: 1, max: 8 }),
      memMib: fc.constantFrom(128, 1024),
      vcpus: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('report', 'end', 'cut', 'drain', 'undrain', 'release'),
      on: fc.nat(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1000, 60_000, 120_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('evict' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer One> ? One : never

class Scene {
  readonly clock = new FakeClock(1_000_000)
  readonly stored = new Stored()
  readonly hosts = new Map<string, Host>()
  fleet = this.awake()
  #made = 0

  awake(): Fleet {
    return new Fleet(this.stored.runners, this.stored.reservations, this.clock)
  }

  enrol(id: string, shape: Pick<Host, 'memMib' | 'vcpus' | 'slots' | 'images'>): void {
    this.hosts.set(id, { ...shape, given: new Map(), connected: false, drains: false, heardAt: 0 })
    this.fleet.add({ id, region: 'test', name: id, hash: '', createdAt: '' })
    this.report(id)
  }

  report(id: string, change: Partial<RunnerReport> = {}): void {
    const one = this.of(id)
    one.connected = true
    one.heardAt = this.clock.now()
    const used = [...one.given.values()]
    this.fleet.report(id, 'tunnel', this.clock.now(), {
      version: '1',
      accelerator: 'tcg',
      draining: false,
      vcpus: one.vcpus,
      total_mem_mib: one.memMib,
      free_mem_mib: one.memMib - used.reduce((sum, { memMib }) => sum + memMib, 0),
      free_vcpus: one.vcpus - used.reduce((sum, { vcpus }) => sum + vcpus, 0),
      free_slots: one.slots - used.length,
      load: 0,
      images: one.images,
      warm: {},
      generation: 2,
      sockets: 1,
      sandboxes: [...one.given.keys()],
      ...change,
    })
  }

  /** Places one and gives it to the host, which must have room for it whatever the region thought. */
  place(image: string, shape: { memMib: number; vcpus: number }): string | undefined {
    const sandbox = `s${this.#made++}`
    try {
      const id = this.fleet.place({ region: 'test', sandbox, image, avoid: [], ...shape })
      this.#give(id, sandbox, shape)
      return id
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return undefined
    }
  }

  fork(id: string, count: number, shape: { memMib: number; vcpus: number }): void {
    const sandboxes = Array.from({ length: count }, () => `s${this.#made++}`)
    try {
      const promised = this.fleet.reserve({ region: 'test', runner: id, sandboxes, ...shape })
      for (const sandbox of sandboxes.slice(0, promised)) this.#give(id, sandbox, shape)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
    }
  }

  of(id: string): Host {
    const found = this.hosts.get(id)
    if (found === undefined) throw new Error(`no host ${id}`)
    return found
  }

  #give(id: string, sandbox: string, shape: { memMib: number; vcpus: number }): void {
    const one = this.of(id)
    expect([one.connected, one.drains], 'connected, drains').toEqual([true, false])
    expect(this.clock.now() - one.heardAt).toBeLessThan(90_000)
    one.given.set(sandbox, shape)
    const used = [...one.given.values()]
    expect(used.length).toBeLessThanOrEqual(one.slots)
    expect(used.reduce((sum, { memMib }) => sum + memMib, 0)).toBeLessThanOrEqual(one.memMib)
    expect(used.reduce((sum, { vcpus }) => sum + vcpus, 0)).toBeLessThanOrEqual(one.vcpus)
  }
}

async function take(scene: Scene, one: Step): Promise<void> {
  const ids = [...scene.hosts.keys()]
  const id = 'on' in one ? (ids[one.on % ids.length] as string) : ''
  switch (one.do) {
    case 'place':
      return void scene.place(one.image, one)
    case 'fork':
      return scene.fork(id, one.count, one)
    case 'report':
      return scene.report(id)
    case 'end': {
      const [first] = scene.of(id).given.keys()
      if (first !== undefined) scene.of(id).given.delete(first)
      return
    }
    case 'release': {
      // A create that came to nothing: the host never had it.
      const last = [...scene.of(id).given.keys()].at(-1)
      if (last === undefined) return
      scene.of(id).given.delete(last)
      return scene.fleet.release(last)
    }
    case 'cut':
      scene.of(id).connected = false
      return scene.fleet.disconnect(id, 'tunnel')
    case 'drain':
    case 'undrain':
      scene.of(id).drains = one.do === 'drain'
      return scene.fleet.drain(id, one.do === 'drain' ? 'wait' : null)
    case 'wait':
      // Hosts report before what was promised on them is forgotten.
      for (const each of ids) if (scene.of(each).connected) scene.report(each)
      return scene.clock.advance(one.ms)
    case 'evict':
      scene.fleet = scene.awake()
  }
}

describe('placement', () => {
  test('never gives a host more than it has, nor anything while it is away, silent or emptied', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(host, { minLength: 1, maxLength: 5 }),
        fc.array(step, { maxLength: 60 }),
        async (hosts, steps) => {
          const scene = new Scene()
          for (const [index, shape] of hosts.entries()) scene.enrol(`r${index}`, shape)
          for (const one of steps) await take(scene, one)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('gives the same answers to the same questions, also after an eviction', () => {
    fc.assert(
      fc.property(fc.array(host, { minLength: 1, maxLength: 6 }), fc.array(fc.boolean()), (hosts, evictions) => {
        const answers = [false, true].map((evicts) => {
          const scene = new Scene()
          for (const [index, shape] of hosts.entries()) scene.enrol(`r${index}`, shape)
          return evictions.map((evict) => {
            if (evict && evicts) scene.fleet = scene.awake()
            return scene.place('python', { memMib: 512, vcpus: 1 })
          })
        })
        expect(answers[0]).toEqual(answers[1])
      }),
    )
  })

  test('prefers a host that has the image to any that has not, as long as there is room on one', () => {
    fc.assert(
      fc.property(fc.array(host, { minLength: 2, maxLength: 8 }), (hosts) => {
        const scene = new Scene()
        for (const [index, shape] of hosts.entries()) scene.enrol(`r${index}`, shape)
        const shape = { memMib: 512, vcpus: 1 }
        const roomy = hosts.filter(({ memMib, vcpus, slots }) => memMib >= 512 && vcpus >= 1 && slots >= 1)
        const chosen = scene.place('python', shape)
        if (roomy.some(({ images }) => images.includes('python'))) {
          expect(scene.of(chosen ?? '').images).toContain('python')
        } else expect(chosen === undefined).toBe(roomy.length === 0)
      }),
    )
  })

  test('spreads: equal hosts differ by one sandbox at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 1, max: 40 }), (count, creates) => {
        const scene = new Scene()
        const shape = { memMib: 65_536, vcpus: 64, slots: 64, images: ['python'] }
        for (let index = 0; index < count; index++) scene.enrol(`r${index}`, shape)
        for (let made = 0; made < creates; made++) scene.place('python', { memMib: 512, vcpus: 1 })
        const loads = [...scene.hosts.values()].map(({ given }) => given.size)
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('spreads machines that stand ready as well: a burst does not count on one twice', () => {
    const scene = new Scene()
    const shape = { memMib: 8192, vcpus: 64, slots: 64, images: ['python'] }
    scene.enrol('r0', { ...shape, memMib: 65_536 })
    for (const id of ['r1', 'r2']) {
      scene.enrol(id, shape)
      scene.report(id, { warm: { python: 2 } })
    }
    const chosen = Array.from({ length: 6 }, () => scene.place('python', { memMib: 512, vcpus: 1 }))
    expect(chosen).toEqual(['r1', 'r2', 'r1', 'r2', 'r0', 'r0'])
  })
})

test('a burst of creates at a region of a thousand runners fills it to the last place and not beyond', () => {
  const scene = new Scene()
  const shape = { memMib: 2048, vcpus: 4, slots: 4, images: ['python'] }
  for (let index = 0; index < 1000; index++) scene.enrol(`r${index}`, shape)
  let made = 0
  while (scene.place('python', { memMib: 1024, vcpus: 1 }) !== undefined) made++
  expect(made).toBe(2000)
  expect(scene.stored.promises.size).toBe(2000)
}, 20_000)
