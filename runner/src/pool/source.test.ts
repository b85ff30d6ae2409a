import { mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Capacity } from '../capacity.ts'
import { silentLog } from '../log.ts'
import { statePaths } from '../paths.ts'
import { BootGate } from '../sandbox/boot-gate.ts'
import type { MachineNeeds } from '../template/key.ts'
import { Templates } from '../template/templates.ts'
import { FakeDriver, type FakeDriverOptions } from '../vm/fake/index.ts'
import { hotMs, MachineSource, refillAfterMs, refillAgainMs, type Taken } from './source.ts'

const needs: MachineNeeds = { image: 'python', vcpus: 1, memoryMib: 256, diskMib: 128 }
const never = new AbortController().signal

let root: string
const undo: (() => Promise<void>)[] = []
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-pool-test-'))
})
afterEach(async () => {
  for (const step of undo.splice(0)) await step()
  await rm(root, { recursive: true })
})

function setUp({
  poolSize = 2,
  memoryMib = 2000,
  slots = 8,
  ...options
}: FakeDriverOptions & { poolSize?: number; memoryMib?: number; slots?: number } = {}) {
  const clock = new FakeClock(1_000_000)
  const driver = new FakeDriver({ folder: root, ...options })
  const capacity = new Capacity({ slots, memoryMib, vcpus: 100 })
  const limits = { bootMs: 20_000, identityMs: 5000, tries: 1 }
  const log = silentLog()
  const context = { driver, gate: new BootGate(4), clock, limits, log }
  const paths = statePaths(join(root, 'state'))
  const templates = new Templates({ context, paths })
  const source = new MachineSource({ context, capacity, templates, poolSize, clock, log })
  undo.push(() => source.close())
  const until = async (ready: number) => {
    while (source.ready() !== ready) await new Promise((done) => setImmediate(done))
  }
  /** Takes one and waits until the pool is full behind it. */
  const filled = async () => {
    const taken = await source.take(needs, never)
    await clock.advance(refillAfterMs)
    await until(poolSize)
    return taken
  }
  let failures = 0
  log.warn = ((_facts: object, what: string) => {
    if (what === 'pool.failed') failures++
  }) as typeof log.warn
  /** Lets time pass, and then waits until so many machines could not be made ready. */
  const failing = async (ms: number, count: number) => {
    await clock.advance(ms)
    while (failures < count) await new Promise((done) => setImmediate(done))
    await new Promise((done) => setImmediate(done))
  }
  return { clock, driver, capacity, templates, source, paths, until, filled, failing, failures: () => failures }
}

async function giveBack({ booted, place }: Taken): Promise<void> {
  await booted.unwind()
  place.release()
}

it('makes the first machine of a template and the next ones from the pool, which are warm and stand still until then', async () => {
  const commands: unknown[] = []
  const { driver, source, filled, templates } = setUp({
    behaviour: (_spec, how) => ({
      exec: async (asked) => {
        if (how === 'boot') return {}
        commands.push(asked)
        return {}
      },
    }),
  })
  const first = await filled()
  expect(first.from).toBe('template')
  expect(commands).toHaveLength(2 * 4)
  expect(source.ready(templates.keyOf(needs))).toBe(2)
  expect([...driver.machines.values()].filter(({ paused }) => paused)).toHaveLength(2)
  const second = await source.take(needs, never)
  expect(second.from).toBe('pool')
  expect(driver.machine(second.booted.vm.id).paused).toBe(false)
  expect(second.booted.vm.spec).toMatchObject({ slot: second.place.slot, diskMib: 128 })
  const ready = await second.booted.identify({ sandbox: 'run-of-mine', env: {} }, never)
  expect(driver.machine(second.booted.vm.id).guest.identity).toMatchObject({ sandbox_id: 'run-of-mine' })
  expect(driver.booted).toBe(1)
  await ready.unwind(new AppError('cancelled', 'cannot go on: it is over'))
  second.place.release()
  await giveBack(first)
})

it('refills after a machine was taken, one at a time', async () => {
  let making = 0
  let most = 0
  const { clock, source, filled, until } = setUp({
    poolSize: 3,
    trouble: async (step) => {
      if (step === 'restore') most = Math.max(most, ++making)
      if (step === 'pause') making--
    },
  })
  const first = await filled()
  const taken = await source.take(needs, never)
  expect(source.ready()).toBe(2)
  making = most = 0
  await clock.advance(refillAfterMs)
  await until(3)
  expect(most).toBe(1)
  await Promise.all([giveBack(first), giveBack(taken)])
})

it('does not refill while somebody waits for a machine', async () => {
  const { clock, driver, source } = setUp({
    behaviour: (spec) => (spec.memoryMib === 300 ? { boot: new Promise<void>(() => undefined) } : {}),
  })
  const first = await source.take(needs, never)
  const abort = new AbortController()
  const waiting = source.take({ ...needs, memoryMib: 300 }, abort.signal)
  const gone = expect(waiting).rejects.toThrow('changed my mind')
  while (driver.machines.size < 2) await new Promise((done) => setImmediate(done))
  await clock.advance(refillAfterMs)
  for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done))
  expect([source.ready(), driver.machines.size]).toEqual([0, 2])
  abort.abort(new Error('changed my mind'))
  await gone
  await giveBack(first)
})

it('counts what stands ready as free, and gives it up for whoever needs the room', async () => {
  const { driver, source, capacity, filled } = setUp({ memoryMib: 3 * 256 })
  const first = await filled()
  expect([capacity.freeMemoryMib, source.freeMemoryMib, source.freeSlots]).toEqual([0, 512, 7])
  const place = await source.reserve({ memoryMib: 300, vcpus: 1 }, never)
  expect([source.ready(), driver.machines.size, source.freeMemoryMib]).toEqual([0, 1, 212])
  await expect(source.reserve({ memoryMib: 300, vcpus: 1 }, never)).rejects.toMatchObject({ code: 'capacity' })
  place.release()
  await giveBack(first)
  expect([source.freeMemoryMib, source.freeSlots]).toEqual([768, 8])
})

it('gives up machines for slots, too, and none for what does not fit in any case', async () => {
  const { source, filled } = setUp({ slots: 3 })
  const first = await filled()
  await expect(source.reserve({ memoryMib: 5000, vcpus: 1 }, never)).rejects.toMatchObject({ code: 'capacity' })
  expect(source.ready()).toBe(2)
  const places = await Promise.all([
    source.reserve({ memoryMib: 1, vcpus: 1 }, never),
    source.reserve({ memoryMib: 1, vcpus: 1 }, never),
  ])
  expect(new Set([first.place.slot, ...places.map(({ slot }) => slot)]).size).toBe(3)
  await expect(source.reserve({ memoryMib: 1, vcpus: 1 }, never)).rejects.toMatchObject({ code: 'capacity' })
  for (const place of places) place.release()
  await giveBack(first)
})

it('gives up the machine that is just being made', async () => {
  const restoring = Promise.withResolvers<void>()
  const { clock, driver, source } = setUp({
    memoryMib: 512,
    behaviour: () => {
      if (driver.started < 2) return {}
      restoring.resolve()
      return { boot: new Promise<void>(() => undefined) }
    },
  })
  const first = await source.take(needs, never)
  await clock.advance(refillAfterMs)
  await restoring.promise
  const place = await source.reserve({ memoryMib: 256, vcpus: 1 }, never)
  expect(driver.machines.size).toBe(1)
  place.release()
  await giveBack(first)
})

it('replaces a machine that ends while it stands ready', async () => {
  const { clock, driver, filled, until } = setUp()
  const first = await filled()
  const [, victim] = [...driver.machines.keys()]
  driver.machine(victim ?? '').die()
  await until(1)
  await clock.advance(refillAfterMs)
  await until(2)
  expect(driver.machines.size).toBe(3)
  await giveBack(first)
})

it('hands out no machine that cannot go on', async () => {
  let broken = false
  const { source, filled, driver } = setUp({
    poolSize: 1,
    trouble: (step) => {
      if (step !== 'resume' || !broken) return
      broken = false
      throw new AppError('sandbox_failed', 'cannot go on: a failure')
    },
  })
  const first = await filled()
  broken = true
  const second = await source.take(needs, never)
  expect(second.from).toBe('template')
  expect(driver.machines.size).toBe(2)
  await Promise.all([giveBack(first), giveBack(second)])
})

it('tries again later after a machine could not be made ready', async () => {
  let broken = true
  const { clock, source, until } = setUp({
    poolSize: 1,
    behaviour: (_spec, how) => ({
      exec: async () => {
        if (broken && how === 'restore') throw new Error('no command runs')
        return {}
      },
    }),
  })
  const first = await source.take(needs, never)
  await clock.advance(refillAfterMs)
  while (source.freeSlots !== 7 || clock.pending < 2) await new Promise((done) => setImmediate(done))
  broken = false
  expect(source.ready()).toBe(0)
  await clock.advance(refillAgainMs)
  await until(1)
  await giveBack(first)
})

it('goes on with the next template after one that cannot be made ready', async () => {
  const { clock, driver, source, failing, until } = setUp({
    poolSize: 1,
    behaviour: (spec, how) => ({
      exec: async () => {
        if (how === 'restore' && spec.memoryMib === needs.memoryMib) throw new Error('no command runs')
        return {}
      },
    }),
  })
  const other = { ...needs, memoryMib: 300 }
  const taken = [await source.take(needs, never), await source.take(other, never)]
  await failing(refillAfterMs, 1)
  await clock.advance(refillAgainMs)
  await until(1)
  expect([...driver.machines.values()].filter(({ paused }) => paused).map(({ spec }) => spec.memoryMib)).toEqual([300])
  await Promise.all(taken.map(giveBack))
})

it('gives up what stands ready of an image that is gone, and makes no more of it', async () => {
  const { driver, source, filled, clock, until } = setUp()
  const first = await filled()
  source.imagesChanged(() => true)
  expect(source.ready()).toBe(2)
  source.imagesChanged((image) => image !== needs.image)
  expect(source.ready()).toBe(0)
  while (driver.machines.size > 1) await new Promise((done) => setImmediate(done))
  const { started } = driver
  await clock.advance(refillAgainMs)
  expect([driver.started, source.freeSlots]).toEqual([started, 7])
  // As soon as somebody wants it again it is kept ready again.
  const second = await source.take(needs, never)
  await clock.advance(refillAfterMs)
  await until(2)
  await Promise.all([giveBack(first), giveBack(second)])
})

it('drops a template whose image turns out to be gone', async () => {
  let isHere = true
  const { clock, driver, source, failing, failures, until } = setUp({ poolSize: 1 })
  const file = { digest: 'sha256:1', env: {}, workdir: '', erofs: '/nowhere' }
  driver.images.addSource((name) => (isHere && name === 'gone' ? file : undefined))
  const taken = [await source.take({ ...needs, image: 'gone' }, never), await source.take(needs, never)]
  isHere = false
  await failing(refillAfterMs, 1)
  await clock.advance(refillAgainMs)
  await until(1)
  expect([...source.readyByImage.keys()]).toEqual(['python'])
  await clock.advance(refillAgainMs)
  for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done))
  expect(failures()).toBe(1)
  await Promise.all(taken.map(giveBack))
})

it('says before anything is taken what does not fit, where what stands ready counts as free', async () => {
  const { source, filled } = setUp({ slots: 3 })
  const first = await filled()
  const room = { memoryMib: 256, vcpus: 1 }
  expect(() => source.mustFit(room)).not.toThrow()
  expect(() => source.mustFit({ memoryMib: 5000, vcpus: 1 })).toThrow(/too little free memory/)
  expect(() => source.mustFit({ memoryMib: 1, vcpus: 100 })).toThrow(/too few free vCPUs/)
  const places = [await source.reserve(room, never), await source.reserve(room, never)]
  expect(() => source.mustFit(room)).toThrow(expect.objectContaining({ code: 'capacity' }))
  for (const place of places) place.release()
  await giveBack(first)
})

it('gives up the pool of a template that nobody used for a while', async () => {
  const { clock, driver, filled, until, source } = setUp()
  const first = await filled()
  await clock.advance(hotMs - refillAfterMs - 1)
  expect(source.ready()).toBe(2)
  await clock.advance(1)
  await until(0)
  while (driver.machines.size > 1) await new Promise((done) => setImmediate(done))
  await giveBack(first)
  expect(source.freeSlots).toBe(8)
})

it('lets nothing stand ready once it is drained, and still serves who asks', async () => {
  const { clock, driver, source, filled } = setUp()
  const first = await filled()
  await source.drain()
  expect([source.ready(), driver.machines.size]).toEqual([0, 1])
  const second = await source.take(needs, never)
  await clock.advance(refillAgainMs)
  expect(source.ready()).toBe(0)
  await Promise.all([giveBack(first), giveBack(second)])
  expect(driver.machines.size).toBe(0)
})

it('has no pool when its size is 0', async () => {
  const { clock, source, driver } = setUp({ poolSize: 0 })
  const first = await source.take(needs, never)
  await clock.advance(refillAgainMs)
  await giveBack(first)
  expect([driver.started, driver.machines.size, source.ready()]).toEqual([2, 0, 0])
})

it('builds the template again when its files are gone', async () => {
  const { source, templates, driver, paths, capacity } = setUp({ poolSize: 0 })
  await giveBack(await source.take(needs, never))
  await truncate(join(paths.template(templates.keyOf(needs)), 'device'), 0)
  const again = await source.take(needs, never)
  expect([driver.booted, again.from]).toEqual([2, 'template'])
  await giveBack(again)
  expect(capacity.freeSlots).toBe(8)
})

it('builds the template again when no machine of it ever came up, and not when one did', async () => {
  let failures = 1
  const { clock, source, driver } = setUp({
    poolSize: 0,
    trouble: (step) => {
      if (step !== 'resume' || failures === 0) return
      failures--
      throw new AppError('sandbox_failed', 'cannot go on: a failure')
    },
  })
  const take = async () => {
    let over = false
    const taking = source.take(needs, never).finally(() => (over = true))
    taking.catch(() => undefined)
    while (!over) {
      await new Promise((done) => setImmediate(done))
      await clock.advance(100)
    }
    return await taking
  }
  const taken = await take()
  expect(driver.booted).toBe(2)
  failures = 1
  await expect(take()).rejects.toMatchObject({ code: 'boot_failed' })
  expect(driver.booted).toBe(2)
  await giveBack(taken)
})

it('takes nothing for a caller who has gone', async () => {
  const { source, capacity, driver } = setUp({ poolSize: 0 })
  const reason = new Error('changed my mind')
  await expect(source.take(needs, AbortSignal.abort(reason))).rejects.toBe(reason)
  expect([capacity.freeSlots, driver.machines.size]).toEqual([8, 0])
})
