import { rm, truncate, writeFile as write } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '@portico/shared/errors'
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

const made: SetUp[] = []
afterEach(async () => {
  for (const one of made.splice(0)) await one.remove()
})

async function setUp(options: SetUpOptions = {}): Promise<SetUp> {
  const one = await setUpIn(options)
  made.push(one)
  return one
}

const child = (sandbox: string) => ({ sandbox, generation: 1 })
const full = new AppError('boot_failed', 'cannot start the virtual machine: no')

describe('a fork', () => {
  it('makes children of the moment, each a sandbox of its own, while the parent runs on', async () => {
    const { registry, machine, driver, capacity } = await setUp()
    await registry.create('a', 1, { ...spec, mem_mib: 128 })
    await writeFile(registry, 'a', '/f', 'then')
    machine('a').guest.memory = 'counter 7'
    const { resolvedImage, pauseMs, children } = await registry.fork('a', 1, [child('b'), child('c')])
    expect([resolvedImage, pauseMs > 0]).toEqual(['python', true])
    expect(children).toEqual(['b', 'c'].map((sandbox) => ({ sandbox, createMs: expect.any(Number) })))
    await writeFile(registry, 'a', '/f', 'later')
    for (const id of ['b', 'c']) {
      expect(await readFile(registry, id, '/f')).toBe('then')
      expect(machine(id).guest.memory).toBe('counter 7')
      expect(machine(id).guest.identity).toMatchObject({ sandbox_id: id, env: { A: 'b' } })
    }
    expect(await readFile(registry, 'a', '/f')).toBe('later')
    expect([driver.booted, driver.started, machine('a').captured]).toEqual([1, 3, 1])
    expect([capacity.freeSlots, capacity.freeMemoryMib]).toEqual([1, 1000 - 3 * 128])
  })

  it('answers the same when it is repeated, and does not fork again', async () => {
    const { registry, machine } = await setUp()
    await registry.create('a', 1, spec)
    const asked = () => registry.fork('a', 1, [child('b')])
    const [first, second] = await Promise.all([asked(), asked()])
    expect(second).toEqual(first)
    expect(await asked()).toEqual(first)
    expect(machine('a').captured).toBe(1)
  })

  it('tells which child failed and keeps the others', async () => {
    let restored = 0
    const trouble = (step: string) => {
      if (step === 'restore' && ++restored === 2) throw full
    }
    const { registry, leftovers, driver } = await setUp({ trouble })
    await registry.create('a', 1, { ...spec, mem_mib: 128 })
    const { children } = await registry.fork('a', 1, [child('b'), child('c'), child('d')])
    const failed = children.filter(({ error }) => error)
    expect(failed).toEqual([{ sandbox: expect.any(String), error: full.toWire() }])
    expect(driver.machines.size).toBe(3)
    await registry.destroyAll('drain')
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('does not begin more than there is room for', async () => {
    const { registry, capacity } = await setUp()
    await registry.create('a', 1, spec)
    const { children } = await registry.fork('a', 1, ['b', 'c', 'd', 'e'].map(child))
    const codes = children.map(({ error }) => error?.code ?? 'ok')
    expect(codes.sort()).toEqual(['capacity', 'capacity', 'ok', 'ok'])
    expect(capacity.freeSlots).toBe(1)
    expect(registry.list()).toHaveLength(3)
  })

  it('lets children inherit what their parent was created with, and start their usage at nothing', async () => {
    const { registry, clock } = await setUp()
    await registry.create('a', 1, { ...spec, idle_timeout: 60 })
    await clock.advance(50_000)
    await registry.fork('a', 1, [child('b')])
    expect(await registry.stats('b', 1)).toMatchObject({ uptime_ms: 0 })
    expect(await registry.stats('a', 1)).toMatchObject({ uptime_ms: 50_000 })
    await clock.advance(60_000)
    await expect.poll(() => registry.list()).toEqual([])
  })

  it('lets the parent run on when its state cannot be taken', async () => {
    const trouble = (step: string) => {
      if (step === 'capture') throw new AppError('deadline', 'cannot capture: QEMU does not answer')
    }
    const { registry, leftovers } = await setUp({ trouble })
    await registry.create('a', 1, spec)
    await expect(registry.fork('a', 1, [child('b')])).rejects.toMatchObject({ code: 'deadline' })
    expect(await echo(registry, 'a')).toBe('hi\n')
    await registry.destroyAll('drain')
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('is refused while the sandbox is created, and by another generation', async () => {
    const { registry } = await setUp({ behaviour: () => ({ boot: new Promise(() => undefined) }) })
    const creating = registry.create('a', 1, spec)
    const failed = expect(creating).rejects.toMatchObject({ code: 'sandbox_not_running' })
    await expect(registry.fork('a', 1, [child('b')])).rejects.toMatchObject({ code: 'sandbox_not_running' })
    await expect(registry.fork('a', 2, [child('b')])).rejects.toMatchObject({ code: 'moved' })
    await registry.destroy('a', 1)
    await failed
  })
})

describe('a snapshot', () => {
  it('outlives its sandbox and can be restored again and again', async () => {
    const { registry, machine, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    await writeFile(registry, 'a', '/f', 'then')
    machine('a').guest.memory = 'counter 7'
    const { sizeBytes } = await registry.snapshot('a', 1, 's')
    expect(sizeBytes).toBeGreaterThan(0)
    await writeFile(registry, 'a', '/f', 'later')
    expect(await registry.snapshot('a', 1, 's')).toEqual({ sizeBytes })
    await registry.destroy('a', 1)
    for (const id of ['b', 'c']) {
      const created = await registry.restore(id, 1, 's', { ...spec, disk_mib: 128, env: { B: id } })
      expect(created).toEqual({ resolvedImage: 'python', createMs: expect.any(Number) })
      expect(await registry.restore(id, 1, 's', spec)).toBe(created)
      expect(await readFile(registry, id, '/f')).toBe('then')
      expect(machine(id).guest.memory).toBe('counter 7')
      expect(machine(id).guest.identity).toMatchObject({ sandbox_id: id, env: { B: id } })
    }
    await registry.deleteSnapshot('s')
    await registry.deleteSnapshot('s')
    expect(await readFile(registry, 'b', '/f')).toBe('then')
    const gone = { code: 'snapshot_not_found' }
    await expect(registry.restore('d', 1, 's', spec)).rejects.toMatchObject(gone)
    await registry.destroyAll('drain')
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it.each([
    ['vCPUs', { vcpus: 2 }],
    ['memory', { mem_mib: 128 }],
    ['a disk', { disk_mib: 32 }],
  ])('is refused to a machine with other %s', async (_what, other) => {
    const { registry, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    await registry.snapshot('a', 1, 's')
    await registry.destroy('a', 1)
    await expect(registry.restore('b', 1, 's', { ...spec, ...other })).rejects.toMatchObject({
      code: 'invalid_request',
    })
    expect(registry.list()).toEqual([])
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('that is damaged is refused, and leaves nothing', async () => {
    const { registry, paths, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    await registry.snapshot('a', 1, 's')
    await registry.destroy('a', 1)
    await truncate(join(paths.snapshot('s'), 'device'), 1)
    await expect(registry.restore('b', 1, 's', spec)).rejects.toMatchObject({ code: 'snapshot_damaged' })
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('whose damage is only seen in the background is used by nobody', async () => {
    const { registry, paths, states, leftovers } = await setUp()
    await registry.create('a', 1, spec)
    const { sizeBytes } = await registry.snapshot('a', 1, 's')
    expect(sizeBytes).toBeGreaterThan(0)
    await registry.destroy('a', 1)
    const device = join(paths.snapshot('s'), 'device')
    const content = await import('node:fs/promises').then((fs) => fs.readFile(device))
    content[0] = (content[0] ?? 0) ^ 1
    await rm(device)
    await write(device, content)
    await expect(registry.restore('b', 1, 's', spec)).rejects.toMatchObject({ code: expect.any(String) })
    expect(states('b')).not.toContain('running')
    await registry.destroyAll('drain')
    expect(await leftovers()).toEqual(nothingLeft)
  })

  it('is one, however often it is asked for at once', async () => {
    const { registry, machine } = await setUp()
    await registry.create('a', 1, spec)
    const [first, second] = await Promise.all([registry.snapshot('a', 1, 's'), registry.snapshot('a', 1, 's')])
    expect([second, machine('a').captured]).toEqual([first, 1])
  })

  it('must have a name that is fit for a folder', async () => {
    const { registry } = await setUp()
    await registry.create('a', 1, spec)
    await expect(registry.snapshot('a', 1, '../x')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(registry.deleteSnapshot('..')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(registry.create('../a', 1, spec)).rejects.toMatchObject({ code: 'invalid_request' })
  })
})
