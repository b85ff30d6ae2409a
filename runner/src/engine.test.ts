import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Engine, openEngine } from './engine.ts'
import { silentLog } from './log.ts'
import { refillAfterMs } from './pool/source.ts'
import { spec } from './testing/sandboxes.ts'
import { FakeDriver } from './vm/fake/index.ts'

let folder: string
let engine: Engine
let clock: FakeClock

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-engine-'))
  clock = new FakeClock(1_000_000)
})
afterEach(async () => {
  await engine.close()
  await rm(folder, { recursive: true, force: true })
})

async function open(settings: object): Promise<void> {
  const config = { stateDir: folder, assets: '/nowhere', memoryMib: 4096, vcpus: 1, ...settings }
  engine = await openEngine(config, { driver: new FakeDriver(), clock, log: silentLog() })
}

it('tells what stands ready by each name of its image, and says when that changes', async () => {
  await open({ poolSize: 1, imageAliases: { 'python:3.12': 'python', ruby: 'no-such-preset' } })
  expect(engine.status()).toMatchObject({ warm: {}, freeVcpus: 16, totalMemoryMib: 4096 })
  const stop = await new Promise<() => void>((resolve) => {
    const off = engine.onWarm(() => resolve(off))
    void engine.create('a', 1, spec).then(() => clock.advance(refillAfterMs))
  })
  stop()
  // What stands ready gives way, so it takes nothing.
  expect(engine.status()).toMatchObject({ warm: { python: 1, 'python:3.12': 1 }, freeVcpus: 15, freeSlots: 255 })
})

it('refuses a sandbox with more vCPUs than are left, whoever sent it, and takes it when there are again', async () => {
  await open({ poolSize: 0, maxVcpus: 3 })
  await engine.create('a', 1, { ...spec, vcpus: 2 })
  expect(engine.status().freeVcpus).toBe(1)
  const again = { ...spec, vcpus: 2 }
  await expect(engine.create('b', 1, again)).rejects.toMatchObject({ code: 'capacity' })
  await engine.hibernate('a', 1)
  expect(engine.status().freeVcpus).toBe(3)
  await engine.create('b', 1, again)
  await expect(engine.resume('a', 1)).rejects.toMatchObject({ code: 'capacity' })
})

it('tells the load of the host', async () => {
  await open({})
  expect(engine.status().load).toBeGreaterThanOrEqual(0)
})
