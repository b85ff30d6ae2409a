import { AppError } from '@portico/shared/errors'
import { request as verdictOn } from '@portico/shared/lifecycle'
import fc from 'fast-check'
import { afterEach, expect, it } from 'vitest'
import { echo, type SetUp, settle, setUp as setUpIn, spec } from '../testing/sandboxes.ts'
import type { FakeDriver, FakeMachine, GuestBehaviour } from '../vm/fake/index.ts'

const made: SetUp[] = []
afterEach(async () => {
  for (const one of made.splice(0)) await one.remove()
})

async function setUp(behaviour: (start: number) => GuestBehaviour = () => ({}), gate = 8): Promise<SetUp> {
  const one = await setUpIn({ behaviour, gate })
  made.push(one)
  return one
}

function only(driver: FakeDriver): FakeMachine {
  const [machine] = driver.machines.values()
  if (!machine) throw new Error('there is no machine')
  return machine
}

const hang = {
  boot: new Promise<void>(() => undefined),
  console: 'Linux version 6.12\nportico-agent: cannot find image\n',
}

it('creates, uses and destroys a sandbox', async () => {
  const { registry, driver, capacity, states, clock } = await setUp()
  expect(await registry.create('a', 1, spec)).toEqual({ resolvedImage: 'python', createMs: expect.any(Number) })
  expect(only(driver).guest.identity).toMatchObject({ env: { LANG: 'C.UTF-8', A: 'b' } })
  expect(await echo(registry, 'a')).toBe('hi\n')
  await clock.advance(5000)
  expect(await registry.stats('a', 1)).toMatchObject({ cpu_ms: 10, uptime_ms: 5000, mem_current_bytes: 2 ** 20 })
  expect(await registry.destroy('a', 1)).toMatchObject({ cpu_ms: 10, uptime_ms: 5000, mem_current_bytes: 0 })
  expect(states('a')).toEqual(['creating', 'running', 'destroying', 'destroyed'])
  expect([driver.machines.size, capacity.freeSlots, capacity.freeMemoryMib]).toEqual([0, 4, 1000])
})

it('answers a repeated create and a repeated destroy the same', async () => {
  const { registry, driver } = await setUp()
  const [first, second] = await Promise.all([registry.create('a', 1, spec), registry.create('a', 1, spec)])
  expect(second).toBe(first)
  expect(await registry.create('a', 1, spec)).toBe(first)
  expect(driver.started).toBe(1)
  const usages = await Promise.all([registry.destroy('a', 1), registry.destroy('a', 1)])
  expect(usages[0]).toEqual(usages[1])
  expect(await registry.destroy('a', 1)).toEqual(usages[0])
})

it('remembers an ended sandbox for a while and then not', async () => {
  const { registry, clock } = await setUp()
  await registry.create('a', 1, spec)
  await registry.destroy('a', 1)
  await clock.advance(14 * 60_000)
  expect(registry.list()).toEqual([])
  await registry.destroy('a', 1)
  await clock.advance(60_000)
  registry.list()
  await expect(registry.destroy('a', 1)).rejects.toMatchObject({ code: 'sandbox_not_found' })
})

it('answers moved to another generation', async () => {
  const { registry } = await setUp()
  await registry.create('a', 2, spec)
  for (const generation of [1, 3]) {
    await expect(registry.destroy('a', generation)).rejects.toMatchObject({ code: 'moved' })
    await expect(registry.stats('a', generation)).rejects.toMatchObject({ code: 'moved' })
    await expect(registry.update('a', generation, 1)).rejects.toMatchObject({ code: 'moved' })
    await expect(echo(registry, 'a', generation)).rejects.toMatchObject({ code: 'moved' })
  }
  await expect(registry.create('a', 1, spec)).rejects.toMatchObject({ code: 'moved' })
  expect(await echo(registry, 'a', 2)).toBe('hi\n')
})

it('lets a create of a later generation replace what is there', async () => {
  const { registry, driver } = await setUp()
  await registry.create('a', 1, spec)
  await Promise.all([registry.create('a', 2, spec), registry.create('a', 2, spec)])
  expect([driver.started, driver.machines.size]).toEqual([2, 1])
  expect(registry.list()).toEqual([{ sandbox: 'a', generation: 2, state: 'running' }])
})

it('knows nothing of a sandbox that it never had', async () => {
  const { registry } = await setUp()
  await expect(registry.stats('a', 1)).rejects.toMatchObject({ code: 'sandbox_not_found' })
})

it('resolves aliases and refuses unknown images without taking a place', async () => {
  const { registry, capacity } = await setUp()
  expect(await registry.create('a', 1, { ...spec, image: 'python:3.12' })).toMatchObject({ resolvedImage: 'python' })
  await expect(registry.create('b', 1, { ...spec, image: 'ruby' })).rejects.toMatchObject({ code: 'image_unknown' })
  expect(capacity.freeSlots).toBe(3)
})

it('never gives away more than it has, whatever comes at once', async () => {
  const { registry, capacity } = await setUp()
  const results = await Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((id) => registry.create(id, 1, spec)))
  const refused = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason.code)
  expect(refused).toEqual(['capacity', 'capacity'])
  expect(capacity.freeMemoryMib).toBe(1000 - 3 * 256)
  await expect(registry.stats('e', 1)).rejects.toMatchObject({ code: 'sandbox_not_found' })
})

it('boots again where the first boot hangs', async () => {
  const { registry, driver, clock } = await setUp((start) => (start === 0 ? hang : {}))
  await settle(clock, registry.create('a', 1, spec))
  expect([driver.started, driver.machines.size]).toEqual([2, 1])
  expect(await echo(registry, 'a')).toBe('hi\n')
})

it('gives up a boot that hangs twice, with the end of its console', async () => {
  const { registry, driver, clock, capacity, states } = await setUp(() => hang)
  await expect(settle(clock, registry.create('a', 1, spec))).rejects.toMatchObject({
    code: 'boot_failed',
    message: expect.stringContaining('portico-agent: cannot find image'),
  })
  expect([driver.started, driver.machines.size, capacity.freeSlots]).toEqual([2, 0, 4])
  expect(states('a')).toEqual(['creating', 'error'])
  expect(clock.pending).toBe(0)
})

it('tells why a machine ended while it booted', async () => {
  const { registry, driver, clock } = await setUp(() => hang)
  const creating = registry.create('a', 1, spec)
  await new Promise((turn) => setImmediate(turn))
  only(driver).die({ kind: 'guest', reason: 'the guest powered off' })
  await expect(settle(clock, creating)).rejects.toMatchObject({ code: 'boot_failed' })
})

it('does not let anybody use a guest that did not confirm who it is', async () => {
  const { registry, driver, capacity } = await setUp(() => ({ confirm: () => ({ hostname: 'somebody-else' }) }))
  await expect(registry.create('a', 1, spec)).rejects.toMatchObject({ code: 'guest_error' })
  expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
  await expect(echo(registry, 'a')).rejects.toMatchObject({ code: 'sandbox_failed' })
})

it('destroys a sandbox that still boots', async () => {
  const { registry, driver, capacity, states } = await setUp(() => hang)
  const creating = registry.create('a', 1, spec)
  const failed = expect(creating).rejects.toMatchObject({ code: 'sandbox_not_running' })
  expect(await registry.destroy('a', 1)).toMatchObject({ uptime_ms: 0 })
  await failed
  expect(states('a')).toEqual(['creating', 'destroying', 'destroyed'])
  expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
})

it('destroys a sandbox that waits for its turn to boot', async () => {
  const { registry, driver } = await setUp(() => hang, 1)
  const creating = [registry.create('a', 1, spec), registry.create('b', 1, spec)]
  const failed = creating.map((one) => expect(one).rejects.toMatchObject({ code: 'sandbox_not_running' }))
  await registry.destroy('b', 1)
  expect(driver.started).toBe(1)
  await registry.destroy('a', 1)
  await Promise.all(failed)
})

it('frees everything when the machine dies, says why, and keeps the error until it is destroyed', async () => {
  const { registry, driver, capacity, changes, clock } = await setUp()
  await registry.create('a', 1, spec)
  await clock.advance(6000)
  only(driver).die()
  await expect.poll(() => registry.list()).toEqual([{ sandbox: 'a', generation: 1, state: 'error' }])
  expect(changes.at(-1)).toMatchObject({
    state: 'error',
    byItself: true,
    reason: "its virtual machine's process ended by signal 9",
    usage: { cpu_ms: 10, uptime_ms: 6000 },
  })
  expect([driver.machines.size, capacity.freeSlots, clock.pending]).toEqual([0, 4, 0])
  await expect(echo(registry, 'a')).rejects.toMatchObject({
    code: 'sandbox_failed',
    message: "cannot use the sandbox: its virtual machine's process ended by signal 9",
  })
  expect(await registry.destroy('a', 1)).toMatchObject({ cpu_ms: 10, uptime_ms: 6000 })
  expect(registry.list()).toEqual([])
})

it('fails what is under way when the machine dies', async () => {
  const { registry, driver } = await setUp(() => ({ exec: () => new Promise(() => undefined) }))
  await registry.create('a', 1, spec)
  const asked = echo(registry, 'a')
  await new Promise((turn) => setImmediate(turn))
  only(driver).die()
  await expect(asked).rejects.toMatchObject({ code: expect.stringMatching(/guest_disconnected|sandbox_failed/) })
})

it('goes on when the channel to the guest breaks', async () => {
  const { registry, driver, clock } = await setUp()
  await registry.create('a', 1, spec)
  only(driver).cut()
  await new Promise((turn) => setImmediate(turn))
  expect(await settle(clock, echo(registry, 'a'), 50)).toBe('hi\n')
})

it('destroys a sandbox that nobody uses, and tells it', async () => {
  const { registry, clock, changes, driver } = await setUp()
  await registry.create('a', 1, { ...spec, idle_timeout: 10 })
  await clock.advance(9000)
  await echo(registry, 'a')
  await clock.advance(9999)
  expect(registry.list()).toHaveLength(1)
  await clock.advance(1)
  await expect.poll(() => registry.list()).toEqual([])
  expect(changes.at(-1)).toMatchObject({
    state: 'destroyed',
    byItself: true,
    reason: 'idle for 10 s',
    usage: { cpu_ms: 10 },
  })
  expect(driver.machines.size).toBe(0)
})

it('does not count the time of an open request as idle', async () => {
  const release = Promise.withResolvers<void>()
  const { registry, clock } = await setUp(() => ({ exec: () => release.promise.then(() => ({})) }))
  await registry.create('a', 1, { ...spec, idle_timeout: 10 })
  const asked = echo(registry, 'a')
  await new Promise((turn) => setImmediate(turn))
  await clock.advance(14_000)
  expect(registry.list()).toHaveLength(1)
  release.resolve()
  await asked
  expect(registry.list()).toHaveLength(1)
})

it('counts an update of the idle time as activity and applies it', async () => {
  const { registry, clock } = await setUp()
  await registry.create('a', 1, { ...spec, idle_timeout: 10 })
  await clock.advance(9000)
  await registry.update('a', 1, 0)
  await clock.advance(10 ** 8)
  expect(registry.list()).toHaveLength(1)
  await registry.update('a', 1, 5)
  await clock.advance(5000)
  await expect.poll(() => registry.list()).toEqual([])
  await expect(registry.update('a', 1, 5)).rejects.toMatchObject({ code: 'sandbox_not_running' })
})

it('destroys all when it is drained and creates nothing after that', async () => {
  const { registry, driver, changes } = await setUp()
  await Promise.all(['a', 'b'].map((id) => registry.create(id, 1, spec)))
  const all = registry.destroyAll('drain')
  await expect(registry.create('c', 1, spec)).rejects.toMatchObject({ code: 'capacity' })
  await all
  expect(driver.machines.size).toBe(0)
  const told = changes.filter(({ byItself }) => byItself).map(({ sandbox, state, reason }) => [sandbox, state, reason])
  expect(told.sort()).toEqual([
    ['a', 'destroyed', 'its runner was stopped'],
    ['b', 'destroyed', 'its runner was stopped'],
  ])
})

it('keeps to the lifecycle and leaks nothing under any sequence of events', async () => {
  const step = fc.constantFrom('create', 'destroy', 'update', 'use', 'die', 'idle', 'cut')
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const { registry, driver, capacity, clock, changes } = await setUp()
      let generation = 0
      const open: Promise<unknown>[] = []
      for (const one of steps) {
        const call = async () => {
          if (one === 'create') await registry.create('a', ++generation, { ...spec, idle_timeout: 10 })
          else if (one === 'destroy') await registry.destroy('a', generation)
          else if (one === 'update') await registry.update('a', generation, 10)
          else if (one === 'use') await echo(registry, 'a', generation)
          else if (one === 'idle') await clock.advance(10_000)
          else if (one === 'die') [...driver.machines.values()][0]?.die()
          else [...driver.machines.values()][0]?.cut()
        }
        open.push(call().catch((error: unknown) => expect(error).toBeInstanceOf(AppError)))
        await new Promise((turn) => setImmediate(turn))
      }
      await settle(clock, Promise.all(open))
      await settle(clock, registry.destroyAll('drain'))
      expect([driver.machines.size, capacity.freeSlots, capacity.freeMemoryMib]).toEqual([0, 4, 1000])
      for (const [index, change] of changes.entries()) {
        const before = changes.slice(0, index).findLast(({ generation: same }) => same === change.generation)
        if (before?.state === 'destroyed') throw new Error('changed after its end')
        if (change.state === 'destroying')
          expect(verdictOn(before?.state ?? 'creating', 'destroy').kind).toBe('accepted')
      }
    }),
    { numRuns: 60 },
  )
}, 60_000)
