import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Capacity } from '../capacity.ts'
import { silentLog } from '../log.ts'
import { statePaths } from '../paths.ts'
import { BootGate } from '../sandbox/boot-gate.ts'
import { FakeDriver, type FakeDriverOptions } from '../vm/fake/index.ts'
import { diskClass, type MachineNeeds } from './key.ts'
import { Templates } from './templates.ts'

const needs: MachineNeeds = { image: 'python', vcpus: 1, memoryMib: 256, diskMib: 64 }
const never = new AbortController().signal

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-templates-test-'))
})
afterEach(() => rm(root, { recursive: true }))

function setUp(options: FakeDriverOptions = {}, limit?: number) {
  const clock = new FakeClock(1_000_000)
  const driver = new FakeDriver({ folder: root, ...options })
  const capacity = new Capacity({ slots: 4, memoryMib: 1000, vcpus: 100 })
  const limits = { bootMs: 20_000, identityMs: 5000, tries: 2 }
  const paths = statePaths(join(root, 'state'))
  const context = { driver, gate: new BootGate(4), clock, limits, log: silentLog() }
  const templates = new Templates({ context, paths, ...(limit === undefined ? {} : { limit }) })
  const get = (wanted = needs, signal = never) => templates.get(wanted, async (room) => capacity.reserve(room), signal)
  return { clock, driver, capacity, paths, templates, get }
}

it('builds a template once for all who ask at the same time, and leaves no machine and no place', async () => {
  const { driver, capacity, get, paths } = setUp()
  const [one, two] = await Promise.all([get(), get()])
  expect(two).toBe(one)
  expect(await get()).toBe(one)
  expect([driver.booted, driver.machines.size, capacity.freeSlots, capacity.freeMemoryMib]).toEqual([1, 0, 4, 1000])
  expect(await readdir(paths.templates)).toEqual([one.key])
  const vm = await driver.restore({ ...needs, id: 'a', slot: 0 }, one.state, never)
  await vm.stop()
})

it('is found again by the next process of the runner', async () => {
  const { key } = await setUp().get()
  const { driver, get } = setUp()
  expect((await get()).key).toBe(key)
  expect(driver.booted).toBe(0)
})

it.each([
  ['another kernel', { guest: { kernel: 'later', agent: 'fake-agent' } }],
  ['another QEMU', { versions: { accelerator: 'tcg', qemu: 'fake-2', cpu: 'fake' } }],
  ['another image', { images: { python: { digest: 'sha256:later', env: {} } } }],
] satisfies [string, FakeDriverOptions][])('is not the template of %s', async (_what, options) => {
  const { key } = await setUp().get()
  const { driver, get } = setUp(options)
  expect((await get()).key).not.toBe(key)
  expect(driver.booted).toBe(1)
})

it('is shared by machines with disks of one class', async () => {
  const { driver, get } = setUp()
  const [small, same, large] = await Promise.all([64, 128, 1024].map((diskMib) => get({ ...needs, diskMib })))
  expect(same).toBe(small)
  expect(large?.key).not.toBe(small?.key)
  expect(driver.booted).toBe(2)
  expect([16, 64, 255, 256, 1023, 5000].map(diskClass)).toEqual([16, 64, 64, 256, 256, 4096])
})

it('is one for every image and disk where its machine waits before it looks at them', () => {
  const { templates } = setUp()
  const waits = { image: 'python', vcpus: 1, memoryMib: 256, diskMib: 64, waits: true } as const
  expect(templates.keyOf(waits)).toBe(templates.keyOf({ ...waits, image: 'node', diskMib: 4096 }))
  expect(templates.keyOf(waits)).not.toBe(templates.keyOf({ ...waits, memoryMib: 512 }))
  const { waits: _waits, ...other } = waits
  expect(templates.keyOf(waits)).not.toBe(templates.keyOf(other))
})

it('is built again when what was saved is damaged', async () => {
  const before = setUp()
  const { key } = await before.get()
  await truncate(join(before.paths.template(key), 'device'), 1)
  const { driver, get } = setUp()
  await get()
  expect(driver.booted).toBe(1)
})

it('is built again after it was found damaged while it was in use', async () => {
  const { driver, get, templates, paths } = setUp()
  const { key } = await get()
  templates.proven(key)
  expect(await templates.check(key)).toBe(true)
  await rm(join(paths.template(key), 'base'))
  expect(await templates.check(key)).toBe(false)
  await get()
  expect(driver.booted).toBe(2)
})

it('removes what a crash left half saved', async () => {
  const before = setUp()
  const { key } = await before.get()
  await rm(join(before.paths.template(key), 'manifest.json'))
  const { driver, get, paths } = setUp()
  await get()
  expect([driver.booted, await readdir(paths.templates)]).toEqual([1, [key]])
})

it('is tried once more when it could not be built', async () => {
  const { driver, get } = setUp({
    trouble: (step) => {
      if (step === 'capture' && driver.booted === 1) throw new AppError('deadline', 'cannot capture: it took too long')
    },
  })
  await get()
  expect(driver.booted).toBe(2)
})

it('tells all who wait why it could not be built, with the end of the console, and is tried anew for the next', async () => {
  const { clock, driver, get, capacity } = setUp({
    behaviour: () => ({ console: 'one\ntwo\n' }),
    trouble: (step) => {
      if (step === 'connect' && driver.booted <= 2)
        throw new AppError('guest_disconnected', 'cannot reach it: it ended')
    },
  })
  const failure = { code: 'boot_failed', message: expect.stringContaining('the end of its console: one | two') }
  let over = false
  const getting = Promise.allSettled([get(), get()]).finally(() => (over = true))
  while (!over) {
    await new Promise((done) => setImmediate(done))
    await clock.advance(100)
  }
  const [one, two] = await getting
  expect(one).toMatchObject({ status: 'rejected', reason: failure })
  expect(two).toMatchObject({ status: 'rejected', reason: failure })
  expect([driver.booted, driver.machines.size, capacity.freeSlots]).toEqual([2, 0, 4])
  await get()
})

it('is built for the others when one of those who wait goes away', async () => {
  const built = Promise.withResolvers<void>()
  const { driver, get } = setUp({ behaviour: () => ({ boot: built.promise }) })
  const abort = new AbortController()
  const first = get(needs, abort.signal)
  const second = get()
  abort.abort(new Error('changed my mind'))
  await expect(first).rejects.toThrow('changed my mind')
  built.resolve()
  await second
  expect(driver.booted).toBe(1)
})

it('refuses an image that there is not', async () => {
  await expect(setUp().get({ ...needs, image: 'none' })).rejects.toMatchObject({ code: 'image_unknown' })
})

it('keeps the ones used last', async () => {
  const { clock, get, paths, driver } = setUp({}, 2)
  const [one, two] = [await get(), await get({ ...needs, memoryMib: 300 })]
  await clock.advance(120_000)
  await get()
  await clock.advance(120_000)
  const three = await get({ ...needs, memoryMib: 400 })
  expect((await readdir(paths.templates)).toSorted()).toEqual([one.key, three.key].toSorted())
  expect(await readdir(paths.templates)).not.toContain(two.key)
  await get({ ...needs, memoryMib: 300 })
  expect(driver.booted).toBe(4)
})

it('ends a build that is under way when it is closed', async () => {
  const booting = Promise.withResolvers<void>()
  const { driver, templates, get, capacity } = setUp({
    behaviour: () => {
      booting.resolve()
      return { boot: new Promise<void>(() => undefined) }
    },
  })
  const getting = get()
  const failed = expect(getting).rejects.toMatchObject({ code: 'runner_disconnected' })
  await booting.promise
  await templates.close()
  await failed
  expect([driver.machines.size, capacity.freeSlots]).toEqual([0, 4])
})
