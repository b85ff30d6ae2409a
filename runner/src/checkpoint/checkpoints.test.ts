import { readdir, writeFile as write } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
import { maxCheckpoints } from '@portico/shared/limits'
import { afterEach, describe, expect, it } from 'vitest'
import {
  echo,
  nothingLeft,
  readFile,
  type SetUp,
  type SetUpOptions,
  setUp as setUpIn,
  spec,
  writeFile,
} from '../testing/sandboxes.ts'
import type { FakeStep } from '../vm/fake/vm.ts'

const made: SetUp[] = []
afterEach(async () => {
  for (const one of made.splice(0)) {
    await one.registry.destroyAll('asked')
    await one.remove()
  }
})

async function setUp(options: SetUpOptions = {}): Promise<SetUp> {
  const one = await setUpIn(options)
  made.push(one)
  return one
}

const asked = (checkpoint: string, name = '') => ({ checkpoint, name, createdAt: '2026-01-01T00:00:00.000Z' })

/** Fails a step of a machine as long as it is set, and holds one. */
function fragile() {
  const broken = new Set<FakeStep>()
  const held = new Map<FakeStep, { reached: () => void; open: Promise<void> }>()
  const trouble = async (step: FakeStep) => {
    if (broken.has(step)) throw new AppError('boot_failed', 'cannot control the virtual machine: it does not answer')
    held.get(step)?.reached()
    await held.get(step)?.open
  }
  const hold = (step: FakeStep) => {
    const reached = Promise.withResolvers<void>()
    const opened = Promise.withResolvers<void>()
    held.set(step, { reached: reached.resolve, open: opened.promise })
    const open = () => {
      held.delete(step)
      opened.resolve()
    }
    return { reached: reached.promise, open }
  }
  return { broken, hold, trouble }
}

describe('a checkpoint', () => {
  it('is kept while the sandbox runs on, listed with the oldest first, and becomes ready', async () => {
    const { registry, machine } = await setUp()
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'one')
    const first = await registry.checkpoint('a', 1, asked('cpb', 'first'))
    expect(first).toMatchObject({ pauseMs: 2, sizeBytes: expect.any(Number), copyMs: expect.any(Number) })
    expect(first.sizeBytes).toBeGreaterThan(0)
    expect(machine('a').guest.frozen).toBe(false)
    await registry.checkpoint('a', 1, asked('cpa', 'second'))
    for (const id of ['cpa', 'cpb']) await registry.waitForCheckpoint('a', 1, id)
    const list = await registry.listCheckpoints('a', 1)
    expect(list.map(({ checkpoint, name, ready }) => [checkpoint, name, ready])).toEqual([
      ['cpb', 'first', true],
      ['cpa', 'second', true],
    ])
    expect(await registry.checkpoint('a', 1, asked('cpb', 'first'))).toEqual({ ...first, ready: true })
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it('is restored, again and again, into another machine; its own files only', async () => {
    const { registry, machine, driver, capacity, clock, states } = await setUp()
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'one')
    await registry.checkpoint('a', 1, asked('cp'))
    for (const text of ['two', 'three']) {
      const before = machine('a')
      await writeFile(registry, 'a', '/f', text)
      await writeFile(registry, 'a', '/new', text)
      await clock.advance(1000)
      const { restoreMs, ...services } = await registry.restoreCheckpoint('a', 1, 'cp')
      expect([restoreMs, services]).toEqual([expect.any(Number), { started: [], stopped: [], failed: [] }])
      expect(machine('a')).not.toBe(before)
      expect(await readFile(registry, 'a', '/f')).toBe('one')
      expect(await readFile(registry, 'a', '/new')).toContain('file_not_found')
    }
    expect([driver.machines.size, capacity.freeSlots]).toEqual([1, 3])
    expect(states('a')).toEqual(['creating', 'running'])
    await clock.advance(1000)
    // Over all its machines.
    expect(await registry.stats('a', 1)).toMatchObject({ cpu_ms: 30, uptime_ms: 3000 })
  })

  it('starts the services that ran, and tells those that ran since and those that could not be started', async () => {
    const { registry, machine } = await setUp({ behaviour: () => ({ failingServices: ['bad'] }) })
    await registry.create('a', 1, spec)
    const then = [
      { name: 'db', running: true, cmd: 'postgres' },
      { name: 'bad', running: true },
      { name: 'idle', running: false },
    ]
    machine('a').guest.services = then
    await registry.checkpoint('a', 1, asked('cp'))
    machine('a').guest.services = [
      { name: 'db', running: true },
      { name: 'since', running: true },
    ]
    const restored = await registry.restoreCheckpoint('a', 1, 'cp')
    expect(restored).toMatchObject({ started: ['db'], stopped: ['since'], failed: ['bad'] })
    expect(machine('a').guest.services[0]).toEqual(then[0])
  })

  it('is void where the disk thawed by itself, and leaves nothing', async () => {
    const { registry, paths } = await setUp({ behaviour: () => ({ thawsByItself: true }) })
    await registry.create('a', 1, spec)
    await expect(registry.checkpoint('a', 1, asked('cp'))).rejects.toMatchObject({ code: 'deadline' })
    expect(await registry.listCheckpoints('a', 1)).toEqual([])
    expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json'])
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it('is deleted, also twice, and not found afterwards', async () => {
    const { registry, paths } = await setUp()
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    for (let time = 0; time < 2; time++) await registry.deleteCheckpoint('a', 1, 'cp')
    expect(await readdir(paths.sandbox('a').folder)).toEqual(['record.json'])
    const missing = { code: 'checkpoint_not_found' }
    await expect(registry.waitForCheckpoint('a', 1, 'cp')).rejects.toMatchObject(missing)
    await expect(registry.restoreCheckpoint('a', 1, 'cp')).rejects.toMatchObject(missing)
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it.each(['hibernate', 'restore'] as const)('that is not ready yet lets a destroy cut in on a %s', async (what) => {
    const secured = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const { registry } = await setUp({
      onStep: async (step) => {
        if (step !== 'checkpoint.secured') return
        secured.resolve()
        await held.promise
      },
    })
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    await secured.promise
    const work = what === 'hibernate' ? registry.hibernate('a', 1) : registry.restoreCheckpoint('a', 1, 'cp')
    const waiting = expect(registry.waitForCheckpoint('a', 1, 'cp')).rejects.toBeInstanceOf(AppError)
    const cut = expect(work).rejects.toMatchObject({ code: 'sandbox_not_running' })
    const use = () => echo(registry, 'a').catch(({ code }: AppError) => code)
    await expect.poll(use).toBe(what === 'hibernate' ? 'sandbox_hibernated' : 'sandbox_busy')
    const gone = registry.destroy('a', 1)
    await cut
    held.resolve()
    await gone
    await waiting
  })

  it('is one of a bounded number', async () => {
    const { registry } = await setUp()
    await registry.create('a', 1, spec)
    for (let number = 0; number < maxCheckpoints; number++) await registry.checkpoint('a', 1, asked(`cp${number}`))
    await expect(registry.checkpoint('a', 1, asked('more'))).rejects.toMatchObject({ code: 'quota_exceeded' })
    await registry.deleteCheckpoint('a', 1, 'cp0')
    await registry.checkpoint('a', 1, asked('more'))
  })

  it('outlives hibernation, can be looked at and deleted in it, and goes with the sandbox', async () => {
    const { registry, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'one')
    for (const id of ['cp', 'other']) await registry.checkpoint('a', 1, asked(id))
    await registry.hibernate('a', 1)
    expect((await registry.listCheckpoints('a', 1)).map(({ ready }) => ready)).toEqual([true, true])
    await registry.deleteCheckpoint('a', 1, 'other')
    const asleep = { code: 'sandbox_hibernated' }
    await expect(registry.checkpoint('a', 1, asked('more'))).rejects.toMatchObject(asleep)
    await expect(registry.restoreCheckpoint('a', 1, 'cp')).rejects.toMatchObject(asleep)
    await registry.resume('a', 1)
    await writeFile(registry, 'a', '/f', 'two')
    await registry.restoreCheckpoint('a', 1, 'cp')
    expect(await readFile(registry, 'a', '/f')).toBe('one')
    await registry.destroy('a', 1)
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('wakes a sandbox whose owner wants that', async () => {
    const { registry } = await setUp()
    await registry.create('a', 1, { ...spec, auto_resume: true })
    await writeFile(registry, 'a', '/f', 'one')
    await registry.checkpoint('a', 1, asked('cp'))
    await registry.hibernate('a', 1)
    await registry.restoreCheckpoint('a', 1, 'cp')
    expect(await readFile(registry, 'a', '/f')).toBe('one')
  })
})

describe('a restore', () => {
  it.each<FakeStep>(['boot', 'capture', 'restore'])(
    'that fails at the %s leaves the sandbox as it was',
    async (step) => {
      const { broken, trouble } = fragile()
      const { registry, machine, driver, capacity } = await setUp({ trouble })
      await registry.create('a', 1, spec)
      await registry.checkpoint('a', 1, asked('cp'))
      await writeFile(registry, 'a', '/f', 'two')
      const before = machine('a')
      broken.add(step)
      await expect(registry.restoreCheckpoint('a', 1, 'cp')).rejects.toBeInstanceOf(AppError)
      expect(machine('a')).toBe(before)
      expect([before.paused, driver.machines.size, capacity.freeSlots]).toEqual([false, 1, 3])
      expect(await readFile(registry, 'a', '/f')).toBe('two')
      broken.clear()
      await registry.restoreCheckpoint('a', 1, 'cp')
      expect(await readFile(registry, 'a', '/f')).toContain('file_not_found')
    },
  )

  it('of one that is damaged is refused, and the sandbox never stands still', async () => {
    const { broken, trouble } = fragile()
    const { registry, paths } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    await registry.waitForCheckpoint('a', 1, 'cp')
    await write(join(paths.sandbox('a').checkpoint('cp'), 'layer-0'), '[]')
    broken.add('pause')
    await expect(registry.restoreCheckpoint('a', 1, 'cp')).rejects.toMatchObject({ code: 'snapshot_damaged' })
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it('needs room for a second machine', async () => {
    const { registry, machine } = await setUp()
    await registry.create('a', 1, { ...spec, mem_mib: 600 })
    await registry.checkpoint('a', 1, asked('cp'))
    const before = machine('a')
    const full = { code: 'capacity', message: expect.stringContaining('second machine') }
    await expect(registry.restoreCheckpoint('a', 1, 'cp')).rejects.toMatchObject(full)
    expect(machine('a')).toBe(before)
    expect(await echo(registry, 'a')).toBe('hi\n')
  })

  it('keeps others out while it lasts, is joined by those who want the same, and does not count as idle time', async () => {
    const { hold, trouble } = fragile()
    const { registry, clock, states } = await setUp({ trouble })
    await registry.create('a', 1, { ...spec, idle_timeout: 10 })
    await registry.checkpoint('a', 1, asked('cp'))
    const boot = hold('boot')
    const restores = [registry.restoreCheckpoint('a', 1, 'cp')]
    await boot.reached
    restores.push(registry.restoreCheckpoint('a', 1, 'cp'))
    await expect(echo(registry, 'a')).rejects.toMatchObject({ code: 'sandbox_busy' })
    await clock.advance(15_000)
    boot.open()
    const [one, two] = await Promise.all(restores)
    expect(one).toEqual(two)
    expect(await echo(registry, 'a')).toBe('hi\n')
    await clock.advance(10_000)
    await expect.poll(() => states('a').at(-1)).toBe('destroyed')
  })

  it('is joined by those who want the same while it still waits its turn', async () => {
    const { registry, machine } = await setUp()
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    const other = registry.checkpoint('a', 1, asked('other'))
    const [one, two] = await Promise.all([
      registry.restoreCheckpoint('a', 1, 'cp'),
      registry.restoreCheckpoint('a', 1, 'cp'),
    ])
    await other
    expect(one).toBe(two)
    const restored = machine('a')
    await registry.restoreCheckpoint('a', 1, 'cp')
    expect(machine('a')).not.toBe(restored)
  })

  it('is cut short by a destroy, which frees both machines', async () => {
    const { hold, trouble } = fragile()
    const { registry, leftovers } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    const boot = hold('boot')
    const restore = registry.restoreCheckpoint('a', 1, 'cp')
    const failed = expect(restore).rejects.toMatchObject({ code: 'sandbox_not_running' })
    await boot.reached
    const gone = registry.destroy('a', 1)
    boot.open()
    await gone
    await failed
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('ends calls that were under way', async () => {
    const never = new AbortController().signal
    const begun = Promise.withResolvers<void>()
    const { registry } = await setUp({
      behaviour: () => ({
        exec: async () => {
          begun.resolve()
          return await new Promise(() => undefined)
        },
      }),
    })
    await registry.create('a', 1, spec)
    await registry.checkpoint('a', 1, asked('cp'))
    const body = Buffer.from('{"argv":["sleep"]}')
    const call = registry.request('a', 1, { method: 'POST', path: '/exec', body, signal: never })
    const ended = expect(call).rejects.toMatchObject({ code: 'guest_disconnected' })
    await begun.promise
    await registry.restoreCheckpoint('a', 1, 'cp')
    await ended
  })
})
