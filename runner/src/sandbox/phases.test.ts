import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock, systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { askHealth } from '../guest/agent.ts'
import { silentLog } from '../log.ts'
import { FakeDriver, type FakeDriverOptions } from '../vm/fake/index.ts'
import type { MachineState } from '../vm/machine-state.ts'
import { BootGate } from './boot-gate.ts'
import { type PhaseContext, PreparedVm, ReadyVm } from './phases.ts'

const spec = { id: 'vm', slot: 0, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 64 }
const never = new AbortController().signal
const hang = { boot: new Promise<void>(() => undefined), console: 'Linux version 6.12\nagent: cannot find image\n' }

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-phases-test-'))
})
afterEach(() => rm(folder, { recursive: true }))

function setUp(options: FakeDriverOptions = {}, clock: PhaseContext['clock'] = systemClock) {
  const driver = new FakeDriver({ folder, ...options })
  const limits = { bootMs: 20_000, identityMs: 5000, tries: 2 }
  const context: PhaseContext = { driver, gate: new BootGate(1), clock, limits, log: silentLog() }
  return { driver, context, prepared: new PreparedVm(context, spec) }
}

async function captured(context: PhaseContext): Promise<MachineState> {
  const booted = await new PreparedVm(context, { ...spec, id: 'template' }).boot(never)
  booted.channel.close()
  await booted.channel.closed
  const state = await booted.vm.capture({ pages: 'memory', signal: never })
  await booted.unwind()
  return state
}

/** Moves the clock until the promise is settled. */
async function settle(clock: FakeClock, promise: Promise<unknown>): Promise<unknown> {
  let over = false
  const outcome = promise.catch((error: unknown) => error).finally(() => (over = true))
  while (!over) {
    await new Promise((done) => setImmediate(done))
    if (!over) await clock.advance(1000)
  }
  return await outcome
}

it('boots, identifies and unwinds', async () => {
  const { driver, prepared } = setUp()
  const ready = await (await prepared.boot(never)).identify({ sandbox: 'run-of-mine', env: { A: 'b' } }, never)
  expect(driver.machine('vm').guest.identity).toMatchObject({ env: { LANG: 'C.UTF-8', A: 'b' } })
  expect((await askHealth(ready.link, never)).generation).toBe(1)
  await ready.unwind(new AppError('cancelled', 'cannot go on: it is over'))
  expect(driver.machines.size).toBe(0)
})

it('restores any number of machines of a state, and identifies each', async () => {
  const { driver, context } = setUp()
  const state = await captured(context)
  const specs = [
    { ...spec, id: 'one' },
    { ...spec, id: 'two', diskMib: 128 },
  ]
  const booted = await Promise.all(
    specs.map((one) => new PreparedVm(context, one).restore(state, { again: false }, never)),
  )
  await state.release()
  const ready = await Promise.all(booted.map((one) => one.identify({ sandbox: one.vm.id, env: {} }, never)))
  expect(driver.booted).toBe(1)
  expect([...driver.machines.values()].map(({ guest }) => guest.identity?.sandbox_id).toSorted()).toEqual([
    'one',
    'two',
  ])
  await Promise.all(ready.map((one) => one.unwind(new AppError('cancelled', 'cannot go on: it is over'))))
})

it('restores a state whose channel was open', async () => {
  const { context } = setUp()
  const booted = await new PreparedVm(context, { ...spec, id: 'parent' }).boot(never)
  const state = await booted.vm.capture({ pages: 'memory', signal: never })
  await booted.vm.resume()
  const child = await new PreparedVm(context, spec).restore(state, { again: 'now' }, never)
  expect((await askHealth(child.channel, never)).generation).toBe(1)
  expect((await askHealth(booted.channel, never)).generation).toBe(1)
  await Promise.all([child.unwind(), booted.unwind(), state.release()])
})

it('answers nothing while it is paused, and everything after it goes on', async () => {
  const { prepared } = setUp()
  const booted = await prepared.boot(never)
  await booted.pause()
  let answered = false
  const asked = askHealth(booted.channel, never).finally(() => (answered = true))
  for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done))
  expect(answered).toBe(false)
  await booted.resume()
  expect((await asked).generation).toBe(1)
  await booted.unwind()
})

it('boots once more after a boot that hangs, and then tells the end of the console', async () => {
  const clock = new FakeClock(1_000_000)
  const { driver, prepared } = setUp({ behaviour: () => hang }, clock)
  expect(await settle(clock, prepared.boot(never))).toMatchObject({
    code: 'boot_failed',
    message:
      'cannot boot the sandbox: not up within 20000 ms; the end of its console: Linux version 6.12 | agent: cannot find image',
  })
  expect([driver.booted, driver.machines.size]).toEqual([2, 0])
})

it('leaves nothing of a restore whose agent stays silent', async () => {
  const clock = new FakeClock(1_000_000)
  const { driver, context, prepared } = setUp({ behaviour: (_spec, how) => (how === 'boot' ? {} : hang) }, clock)
  const state = await captured(context)
  expect(await settle(clock, prepared.restore(state, { again: false }, never))).toMatchObject({
    code: 'boot_failed',
    message: expect.stringContaining('cannot restore the sandbox: not up within 5000 ms'),
  })
  expect(driver.machines.size).toBe(0)
  await state.release()
})

it.each(['connect', 'resume'] as const)('leaves nothing of a restore that fails at its step: %s', async (failing) => {
  const trouble = (step: string, { id }: { id: string }) => {
    if (step === failing && id === 'vm') throw new AppError('sandbox_failed', 'cannot go on: a failure')
  }
  const { driver, context, prepared } = setUp({ trouble })
  const state = await captured(context)
  await expect(prepared.restore(state, { again: false }, never)).rejects.toMatchObject({
    code: 'boot_failed',
    message: 'cannot restore the sandbox: cannot go on: a failure',
  })
  expect(driver.machines.size).toBe(0)
  await state.release()
})

it('tells why a machine ended that was being restored', async () => {
  const { driver, context, prepared } = setUp({
    trouble: (step, { id }) => {
      if (step === 'resume' && id === 'vm') driver.machine('vm').die()
    },
  })
  const state = await captured(context)
  await expect(prepared.restore(state, { again: false }, never)).rejects.toMatchObject({ code: 'boot_failed' })
  expect(driver.machines.size).toBe(0)
  await state.release()
})

it('ends a restore that is aborted with the reason, and leaves nothing', async () => {
  const { driver, context, prepared } = setUp({ behaviour: (_spec, how) => (how === 'boot' ? {} : hang) })
  const state = await captured(context)
  const abort = new AbortController()
  const restoring = prepared.restore(state, { again: false }, abort.signal)
  const reason = new AppError('cancelled', 'cannot go on: changed my mind')
  setImmediate(() => abort.abort(reason))
  await expect(restoring).rejects.toBe(reason)
  expect(driver.machines.size).toBe(0)
  await state.release()
})

it('leaves nothing of a guest that does not confirm who it is', async () => {
  const { driver, prepared } = setUp({ behaviour: () => ({ confirm: () => ({ hostname: 'another' }) }) })
  const booted = await prepared.boot(never)
  await expect(booted.identify({ sandbox: 'a', env: {} }, never)).rejects.toMatchObject({ code: 'guest_error' })
  expect(driver.machines.size).toBe(0)
})

it('tells that a sandbox is of no more use when its machine ends', async () => {
  const { driver, prepared } = setUp()
  const ready = await (await prepared.boot(never)).identify({ sandbox: 'a', env: {} }, never)
  driver.machine('vm').die({ kind: 'crashed', reason: 'a crash' })
  expect(await ready.broken).toBe('a crash')
  await ready.unwind(new AppError('sandbox_failed', 'cannot go on: a crash'))
})

it('goes on in another machine with a session that was suspended, and with the command that runs in it', async () => {
  const finished = Promise.withResolvers<object>()
  const started = Promise.withResolvers<void>()
  const exec = async () => {
    started.resolve()
    return await finished.promise
  }
  const { context, prepared } = setUp({ behaviour: (_spec, how) => (how === 'boot' ? { exec } : {}) })
  const ready = await (await prepared.boot(never)).identify({ sandbox: 'a', env: {} }, never)
  const body = Buffer.from('{"argv":["work"]}')
  const answer = ready.link.request({ method: 'POST', path: '/exec', body, signal: never })
  await started.promise
  await ready.link.suspend(never)
  const state = await ready.vm.capture({ pages: 'file', signal: never })
  await ready.vm.stop()
  const vm = await context.driver.restore({ ...spec, id: 'next' }, state, never)
  await state.release()
  const first = await vm.connect(never)
  await vm.resume()
  await ready.link.resume((signal) => vm.connect(signal), first, never)
  const next = new ReadyVm(context, vm, ready.link)
  finished.resolve({ stdout: 'done' })
  const parts: Uint8Array[] = []
  for await (const bytes of (await answer).body) parts.push(bytes)
  expect(JSON.parse(Buffer.concat(parts).toString())).toMatchObject({ stdout: 'done' })
  expect((await askHealth(next.link, never)).generation).toBe(1)
  await next.unwind(new AppError('cancelled', 'cannot go on: it is over'))
})
