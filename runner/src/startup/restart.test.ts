/** Each test gives one state folder and one host of machines to two engines, one after the other, as a runner that is killed and started again does. */

import { mkdir, mkdtemp, readdir, rm, writeFile as write } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Engine, engineSteps, openEngine } from '../engine.ts'
import { silentLog } from '../log.ts'
import { type StatePaths, statePaths } from '../paths.ts'
import { echo, machineOf, readFile, spec, writeFile } from '../testing/sandboxes.ts'
import { FakeDriver } from '../vm/fake/index.ts'

let root: string
let paths: StatePaths
let driver: FakeDriver
let clock: FakeClock
const engines: Engine[] = []

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-restart-'))
  paths = statePaths(join(root, 'state'))
  clock = new FakeClock(1_000_000)
  await mkdir(join(root, 'fake'))
  driver = new FakeDriver({ folder: join(root, 'fake') })
})
afterEach(async () => {
  await engines.at(-1)?.close()
  engines.splice(0)
  await rm(root, { recursive: true, force: true })
})

/** Opens an engine on the folder; the one before it, if any, is as good as killed. */
async function start(onStep?: (step: string) => void | Promise<void>): Promise<Engine> {
  driver.abandon()
  const config = { stateDir: paths.root, assets: '/nowhere', maxSandboxes: 8, memoryMib: 4096, poolSize: 0 }
  const engine = await openEngine(config, { driver, clock, log: silentLog(), ...(onStep ? { onStep } : {}) })
  engines.push(engine)
  return engine
}

const states = (engine: Engine) => engine.status().sandboxes.map(({ sandbox, state }) => [sandbox, state])

it('takes over what runs, with its files, its place and its usage', async () => {
  const first = await start()
  await first.create('a', 1, spec)
  await writeFile(first, 'a', '/f', 'kept')
  await clock.advance(5000)
  const machine = machineOf(driver, 'a')
  const next = await start()
  expect(states(next)).toEqual([['a', 'running']])
  expect(machineOf(driver, 'a')).toBe(machine)
  expect(await readFile(next, 'a', '/f')).toBe('kept')
  expect(await next.create('a', 1, spec)).toMatchObject({ resolvedImage: 'python' })
  expect([next.status().freeSlots, next.status().freeMemoryMib]).toEqual([7, 4096 - 256])
  await clock.advance(1000)
  expect(await next.stats('a', 1)).toMatchObject({ uptime_ms: 6000, cpu_ms: 10 })
  expect(await next.destroy('a', 1)).toMatchObject({ uptime_ms: 6000 })
  expect([driver.machines.size, await readdir(paths.sandboxes)]).toEqual([0, []])
})

it('counts the idle time of a sandbox that it took over', async () => {
  await (await start()).create('a', 1, { ...spec, idle_timeout: 10 })
  const next = await start()
  await clock.advance(10_000)
  await expect.poll(() => states(next)).toEqual([])
})

it('ends machines that no record names', async () => {
  await start()
  await driver.boot(
    { id: 'stray', slot: 3, image: 'python', vcpus: 1, memoryMib: 64, diskMib: 64 },
    AbortSignal.timeout(1000),
  )
  const next = await start()
  expect([driver.machines.size, next.status().freeSlots]).toEqual([0, 8])
})

it('lists what is hibernated, and resumes it', async () => {
  const first = await start()
  await first.create('a', 1, { ...spec, auto_resume: true })
  await writeFile(first, 'a', '/f', 'kept')
  await clock.advance(5000)
  const usage = await first.hibernate('a', 1)
  const next = await start()
  expect(states(next)).toEqual([['a', 'hibernated']])
  expect(await next.stats('a', 1)).toEqual(usage)
  expect(await next.hibernate('a', 1)).toEqual(usage)
  expect(await readFile(next, 'a', '/f')).toBe('kept')
  expect(states(next)).toEqual([['a', 'running']])
})

it('keeps what is hibernated and what is a snapshot when it is stopped in order', async () => {
  const first = await start()
  await first.create('a', 1, spec)
  await first.create('b', 1, spec)
  await writeFile(first, 'a', '/f', 'kept')
  await first.snapshot('a', 1, 's')
  await first.hibernate('a', 1)
  await first.close()
  expect(driver.machines.size).toBe(0)
  const next = await start()
  expect(states(next)).toEqual([['a', 'hibernated']])
  await next.resume('a', 1)
  expect(await readFile(next, 'a', '/f')).toBe('kept')
  await next.restore('c', 1, 's', spec)
  expect(await readFile(next, 'c', '/f')).toBe('kept')
})

it('tells as an error what lost its machine meanwhile', async () => {
  const first = await start()
  await first.create('a', 1, spec)
  driver.abandon()
  machineOf(driver, 'a').die()
  const next = await start()
  expect(states(next)).toEqual([['a', 'error']])
  await expect(echo(next, 'a')).rejects.toMatchObject({
    code: 'sandbox_failed',
    message: expect.stringContaining('gone'),
  })
  await next.destroy('a', 1)
  expect(await readdir(paths.sandboxes)).toEqual([])
})

it('keeps an error, its reason and its usage', async () => {
  const first = await start()
  await first.create('a', 1, spec)
  await clock.advance(5000)
  machineOf(driver, 'a').die()
  await expect.poll(() => states(first)).toEqual([['a', 'error']])
  const usage = await first.stats('a', 1)
  const next = await start()
  expect(states(next)).toEqual([['a', 'error']])
  expect(await next.destroy('a', 1)).toEqual(usage)
})

it('leaves a record alone that it cannot read, and removes what has none', async () => {
  const first = await start()
  await first.create('a', 1, spec)
  await write(paths.sandbox('a').record, '{')
  await mkdir(paths.sandbox('half').saved(1), { recursive: true })
  await mkdir(paths.snapshot('half'), { recursive: true })
  await mkdir(paths.capture('x').folder, { recursive: true })
  const next = await start()
  expect(states(next)).toEqual([])
  expect(driver.machines.size).toBe(0)
  expect(await readdir(paths.sandboxes)).toEqual(['a'])
  expect(await readdir(paths.snapshots)).toEqual([])
  await expect(readdir(paths.captures)).rejects.toMatchObject({ code: 'ENOENT' })
})

describe('a runner that is killed at the step', () => {
  it.each(engineSteps)('%s goes on with all or nothing of it', async (at) => {
    const reached = Promise.withResolvers<void>()
    const first = await start((step) => {
      if (step !== at) return
      reached.resolve()
      // The process is gone: it never comes back.
      return new Promise(() => undefined)
    })
    await first.create('a', 1, { ...spec, auto_resume: true })
    await writeFile(first, 'a', '/f', 'kept')
    void drive(first, at).catch(() => undefined)
    await reached.promise
    const next = await start()
    expect(['running', 'hibernated']).toContain(next.status().sandboxes.find(({ sandbox }) => sandbox === 'a')?.state)
    for (const { sandbox } of next.status().sandboxes) {
      expect(await readFile(next, sandbox, '/f')).toBe('kept')
      expect(machineOf(driver, sandbox).guest.identity?.sandbox_id).toBe(sandbox)
    }
    const checkpoints = await next.checkpoints('a', 1)
    const kept = checkpoints.length > 0 ? ['checkpoints', 'record.json'] : ['record.json']
    expect(await readdir(paths.sandbox('a').folder)).toEqual(kept)
    expect(checkpoints.length).toBe(at === 'checkpoint.linked' || !/^(checkpoint|revert)/.test(at) ? 0 : 1)
    for (const { checkpoint } of checkpoints) {
      await next.waitForCheckpoint('a', 1, checkpoint)
      await next.restoreCheckpoint('a', 1, checkpoint)
      expect(await readFile(next, 'a', '/f')).toBe('kept')
    }
    expect(driver.machines.size).toBe(next.status().sandboxes.length)
    const saved = await readdir(paths.snapshots)
    for (const snapshot of saved) {
      await next.restore('r', 1, snapshot, spec)
      expect(await readFile(next, 'r', '/f')).toBe('kept')
    }
    // Everything can be asked again.
    if (at.startsWith('checkpoint')) expect((await next.checkpoint('a', 1, asked)).ready).toBe(true)
    if (at.startsWith('snapshot')) expect((await next.snapshot('a', 1, 's')).sizeBytes).toBeGreaterThan(0)
    if (at.startsWith('fork'))
      expect((await next.fork('a', 1, children)).children.map(({ error }) => error)).toEqual([undefined, undefined])
    await next.close()
    expect(driver.machines.size).toBe(0)
    expect(await readdir(paths.sandboxes)).toEqual([])
  })

  const children = ['b', 'c'].map((sandbox) => ({ sandbox, generation: 1 }))

  const asked = { checkpoint: 'cp', name: '', createdAt: '2026-01-01T00:00:00.000Z', wait: true }

  async function drive(engine: Engine, at: string): Promise<void> {
    if (/^(checkpoint|revert)/.test(at)) {
      await engine.checkpoint('a', 1, asked)
      if (at.startsWith('revert')) await engine.restoreCheckpoint('a', 1, 'cp')
      return
    }
    if (at.startsWith('fork')) await engine.fork('a', 1, children)
    else if (at.startsWith('snapshot')) await engine.snapshot('a', 1, 's')
    else await engine.hibernate('a', 1)
    if (at.startsWith('resume')) await engine.resume('a', 1)
  }
})
