import { readFile as read, readdir, rm, writeFile as write } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { afterEach, describe, expect, it } from 'vitest'
import {
  echo,
  nothingLeft,
  readFile,
  type SetUp,
  type SetUpOptions,
  settle,
  setUp as setUpIn,
  spec,
  writeFile,
} from '../testing/sandboxes.ts'
import type { FakeStep } from '../vm/fake/vm.ts'

const made: SetUp[] = []
afterEach(async () => {
  for (const one of made.splice(0)) await one.remove()
})

async function setUp(options: SetUpOptions = {}): Promise<SetUp> {
  const one = await setUpIn(options)
  made.push(one)
  return one
}

const asleep = { code: 'sandbox_hibernated' }
const failing = new AppError('deadline', 'cannot control the virtual machine: it does not answer')

/** Fails a step of a machine as long as it is set. */
function fragile() {
  const broken = new Set<FakeStep>()
  const trouble = (step: FakeStep) => {
    if (broken.has(step)) throw failing
  }
  return { broken, trouble }
}

describe('a hibernated sandbox', () => {
  it('holds no machine and no place, and goes on where it was when it is resumed', async () => {
    const { registry, machine, driver, capacity, states, clock } = await setUp()
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'kept')
    machine('a').guest.memory = 'counter 7'
    await clock.advance(4000)
    const usage = await registry.hibernate('a', 1)
    expect(usage).toMatchObject({ cpu_ms: 10, uptime_ms: 4000, mem_current_bytes: 0 })
    expect(await registry.hibernate('a', 1)).toEqual(usage)
    expect([driver.machines.size, capacity.freeSlots, capacity.freeMemoryMib]).toEqual([0, 4, 1000])
    expect(registry.list()).toEqual([{ sandbox: 'a', generation: 1, state: 'hibernated' }])
    await expect(echo(registry, 'a')).rejects.toMatchObject(asleep)
    await expect(registry.fork('a', 1, [{ sandbox: 'b', generation: 1 }])).rejects.toMatchObject(asleep)
    await expect(registry.snapshot('a', 1, 's')).rejects.toMatchObject(asleep)
    await clock.advance(10 ** 7)
    expect(await registry.stats('a', 1)).toEqual(usage)
    expect(await registry.resume('a', 1)).toEqual({ resumeMs: expect.any(Number) })
    expect((await registry.resume('a', 1)).resumeMs).toBeGreaterThanOrEqual(0)
    expect(await readFile(registry, 'a', '/f')).toBe('kept')
    expect(machine('a').guest.memory).toBe('counter 7')
    await clock.advance(1000)
    expect(await registry.stats('a', 1)).toMatchObject({ cpu_ms: 20, uptime_ms: 5000 })
    expect(states('a')).toEqual(['creating', 'running', 'hibernating', 'hibernated', 'resuming', 'running'])
  })

  it('sleeps and wakes again and again, and leaves nothing of the last time', async () => {
    const { registry, paths, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    for (let round = 0; round < 4; round++) {
      await writeFile(registry, 'a', '/round', String(round))
      await registry.hibernate('a', 1)
      expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json', `saved-${round + 1}`])
      await registry.resume('a', 1)
      expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json'])
      expect(await readFile(registry, 'a', '/round')).toBe(String(round))
    }
    await registry.destroy('a', 1)
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('takes its saved state with it when it is destroyed', async () => {
    const { registry, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    const usage = await registry.hibernate('a', 1)
    expect(await registry.destroy('a', 1)).toEqual(usage)
    expect(await registry.destroy('a', 1)).toEqual(usage)
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('stays on disk when the runner is stopped', async () => {
    const { registry, paths, leftovers, states } = await setUp()
    await Promise.all(['a', 'b'].map((id) => registry.create(id, 1, spec)))
    await registry.hibernate('a', 1)
    await registry.destroyAll('drain')
    expect(await leftovers()).toEqual({ ...nothingLeft, sandboxes: ['a'] })
    expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json', 'saved-1'])
    expect(states('a').at(-1)).toBe('hibernated')
    await expect(registry.resume('a', 1)).rejects.toMatchObject({ code: 'capacity' })
  })

  it('lets its timeout be changed, which counts from when it is resumed', async () => {
    const { registry, clock } = await setUp()
    await registry.create('a', 1, spec)
    await registry.hibernate('a', 1)
    await registry.update('a', 1, 5)
    await clock.advance(60_000)
    await registry.resume('a', 1)
    await clock.advance(4999)
    expect(registry.list()).toHaveLength(1)
    await clock.advance(1)
    await expect.poll(() => registry.list()).toEqual([])
  })
})

describe('auto_resume', () => {
  it('wakes it for whoever uses it, once for all', async () => {
    const { registry, driver, changes } = await setUp()
    await registry.create('a', 1, { ...spec, auto_resume: true })
    await registry.hibernate('a', 1)
    expect(await Promise.all([1, 2, 3].map(() => echo(registry, 'a')))).toEqual(['hi\n', 'hi\n', 'hi\n'])
    expect(driver.started).toBe(2)
    expect(changes.at(-1)).toMatchObject({ state: 'running', byItself: true })
  })

  it('serves requests that came while it fell asleep', async () => {
    const captured = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const { registry } = await setUp({
      onStep: async (step) => {
        if (step !== 'hibernate.captured') return
        captured.resolve()
        await go.promise
      },
    })
    await registry.create('a', 1, { ...spec, auto_resume: true })
    const hibernating = registry.hibernate('a', 1)
    await captured.promise
    const asked = echo(registry, 'a')
    go.resolve()
    await hibernating
    expect(await asked).toBe('hi\n')
  })

  it('wakes nothing while the runner is being stopped', async () => {
    const { registry } = await setUp()
    await registry.create('a', 1, { ...spec, auto_resume: true })
    await registry.hibernate('a', 1)
    registry.drain()
    await expect(echo(registry, 'a')).rejects.toMatchObject({ code: 'capacity' })
    expect(registry.list()[0]?.state).toBe('hibernated')
  })

  it('tells everybody who waits why it could not be resumed', async () => {
    const { broken, trouble } = fragile()
    const { registry } = await setUp({ trouble })
    await registry.create('a', 1, { ...spec, auto_resume: true })
    await registry.hibernate('a', 1)
    broken.add('restore')
    for (const result of await Promise.allSettled([echo(registry, 'a'), echo(registry, 'a')]))
      expect(result).toMatchObject({ reason: { code: 'deadline' } })
    broken.clear()
    expect(await echo(registry, 'a')).toBe('hi\n')
  })
})

describe('on_idle: hibernate', () => {
  it('hibernates it instead of destroying it, and tells', async () => {
    const { registry, clock, changes } = await setUp()
    await registry.create('a', 1, { ...spec, idle_timeout: 10, on_idle: 'hibernate' })
    await clock.advance(10_000)
    await expect.poll(() => registry.list()[0]?.state).toBe('hibernated')
    expect(changes.at(-1)).toMatchObject({ state: 'hibernated', byItself: true, usage: { uptime_ms: 10_000 } })
    await clock.advance(10 ** 7)
    await registry.resume('a', 1)
    await clock.advance(9999)
    expect(registry.list()[0]?.state).toBe('running')
    await clock.advance(1)
    await expect.poll(() => registry.list()[0]?.state).toBe('hibernated')
  })

  it('tells that it runs on when that does not work, and tries again later', async () => {
    const { broken, trouble } = fragile()
    const { registry, clock, changes } = await setUp({ trouble })
    await registry.create('a', 1, { ...spec, idle_timeout: 10, on_idle: 'hibernate' })
    broken.add('capture')
    await settle(clock, clock.advance(10_000))
    await expect.poll(() => changes.at(-1)).toMatchObject({ state: 'running', byItself: true })
    broken.clear()
    await clock.advance(10_000)
    await expect.poll(() => registry.list()[0]?.state).toBe('hibernated')
  })
})

describe('what goes wrong', () => {
  it('while it is saved lets it run on', async () => {
    const { broken, trouble } = fragile()
    const { registry, leftovers, states } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    broken.add('capture')
    await expect(registry.hibernate('a', 1)).rejects.toBe(failing)
    expect(states('a').slice(-2)).toEqual(['hibernating', 'running'])
    expect(await echo(registry, 'a')).toBe('hi\n')
    await registry.destroy('a', 1)
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it.each(['save.folder', 'save.manifest', 'save.rename', 'save.sync', 'saved'])(
    'in the step %s of saving leaves no half of a state',
    async (at) => {
      const full = new AppError('capacity', "cannot save the sandbox: this runner's disk is full")
      const onStep = (step: string) => {
        if (step === `hibernate.${at}`) throw full
      }
      const { registry, paths, leftovers } = await setUp({ onStep })
      await registry.create('a', 1, spec)
      await expect(registry.hibernate('a', 1)).rejects.toBe(full)
      expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json'])
      expect(await echo(registry, 'a')).toBe('hi\n')
      await registry.destroy('a', 1)
      expect(await leftovers()).toEqual(nothingLeft)
    },
  )

  it('with a machine that cannot go on either frees everything', async () => {
    const { broken, trouble } = fragile()
    const { registry, driver, capacity, changes } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    broken.add('capture').add('resume').add('connect')
    await expect(registry.hibernate('a', 1)).rejects.toBe(failing)
    expect(changes.at(-1)).toMatchObject({ state: 'error', byItself: true, usage: { cpu_ms: 10 } })
    expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
  })

  it('when the machine dies while it is saved is told as an error', async () => {
    const { registry, machine, driver, capacity, states } = await setUp({
      onStep: (step) => {
        if (step === 'hibernate.captured') machine('a').die()
      },
    })
    await registry.create('a', 1, spec)
    await Promise.allSettled([registry.hibernate('a', 1)])
    await expect.poll(() => registry.list()).toEqual([{ sandbox: 'a', generation: 1, state: 'error' }])
    expect(states('a')).toEqual(['creating', 'running', 'hibernating', 'error'])
    expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
  })

  it.each(['restore', 'connect', 'resume'] as const)('in the step %s of waking up lets it sleep on', async (step) => {
    const { broken, trouble } = fragile()
    const { registry, driver, capacity } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'kept')
    await registry.hibernate('a', 1)
    broken.add(step)
    await expect(registry.resume('a', 1)).rejects.toMatchObject({ code: expect.any(String) })
    expect(registry.list()).toEqual([{ sandbox: 'a', generation: 1, state: 'hibernated' }])
    expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
    broken.clear()
    await registry.resume('a', 1)
    expect(await readFile(registry, 'a', '/f')).toBe('kept')
  })

  it('for want of room lets it sleep on', async () => {
    const { registry } = await setUp()
    await registry.create('a', 1, spec)
    await registry.hibernate('a', 1)
    await registry.create('b', 1, { ...spec, mem_mib: 900 })
    await expect(registry.resume('a', 1)).rejects.toMatchObject({ code: 'capacity' })
    await registry.destroy('b', 1)
    await registry.resume('a', 1)
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it.each(['manifest.json', 'device'])(
    'with what was saved (%s) makes it an error, and nobody uses it',
    async (part) => {
      const { registry, paths, states, driver, capacity, leftovers } = await setUp()
      await registry.create('a', 1, spec)
      await registry.hibernate('a', 1)
      await flip(join(paths.sandbox('a').saved(1), part))
      await expect(registry.resume('a', 1)).rejects.toMatchObject({ code: 'snapshot_damaged' })
      expect(states('a').slice(-2)).toEqual(['resuming', 'error'])
      expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
      await registry.destroy('a', 1)
      expect(await leftovers()).toEqual(nothingLeft)
    },
  )
})

describe('a destroy in the middle', () => {
  it.each([
    'hibernate.captured',
    'hibernate.save.manifest',
    'hibernate.saved',
    'hibernate.recorded',
    'hibernate.stopped',
  ])('at %s frees everything', async (at) => await destroyAt(at, (one) => one.registry.hibernate('a', 1)))

  it.each(['resume.opened', 'resume.linked', 'resume.verified', 'resume.recorded', 'resume.cleaned'])(
    'at %s frees everything',
    async (at) =>
      await destroyAt(at, async (one) => {
        await one.registry.hibernate('a', 1)
        await one.registry.resume('a', 1)
      }),
  )

  async function destroyAt(at: string, run: (one: SetUp) => Promise<unknown>): Promise<void> {
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const one = await setUp({
      onStep: async (step) => {
        if (step !== at) return
        reached.resolve()
        await go.promise
      },
    })
    await one.registry.create('a', 1, spec)
    const running = run(one).catch((error: unknown) => expect(error).toBeInstanceOf(AppError))
    await reached.promise
    const destroyed = one.registry.destroy('a', 1)
    go.resolve()
    await destroyed
    await running
    expect(one.states('a').slice(-2)).toEqual(['destroying', 'destroyed'])
    expect(await one.leftovers()).toEqual(nothingLeft)
  }
})

async function flip(file: string): Promise<void> {
  const content = await read(file)
  const at = Math.floor(content.length / 2)
  content[at] = (content[at] ?? 0) ^ 1
  await rm(file)
  await write(file, content)
}
