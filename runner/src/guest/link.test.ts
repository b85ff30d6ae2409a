import { duplexPair } from 'node:stream'
import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { expect, it } from 'vitest'
import type { ExecResult } from '../vm/fake/guest.ts'
import { FakeDriver } from '../vm/fake/index.ts'
import { askHealth, giveIdentity } from './agent.ts'
import { GuestChannel } from './channel.ts'
import type { GuestResponse } from './http.ts'
import { GuestLink } from './link.ts'

const signal = new AbortController().signal
const spec = { id: 'x', slot: 0, image: 'python', vcpus: 1, memoryMib: 128, diskMib: 64 }

async function open(connectFails = () => false) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const vm = await driver.boot(spec, signal)
  const lost: AppError[] = []
  const connect = async (limit: AbortSignal) => {
    if (connectFails()) throw new AppError('guest_disconnected', 'cannot reach the guest')
    return await vm.connect(limit)
  }
  const first = await GuestChannel.open(await vm.connect(signal), { signal, again: false, clock })
  const link = new GuestLink({ connect, first, clock, onLost: (error) => lost.push(error) })
  return { clock, link, lost, vm, connect, machine: driver.machine('x') }
}

/** Moves the clock on until the promise is settled. */
async function settle<Value>(clock: FakeClock, promise: Promise<Value>): Promise<Value> {
  let over = false
  promise.finally(() => (over = true)).catch(() => undefined)
  while (!over) {
    await clock.advance(100)
    await new Promise((turn) => setImmediate(turn))
  }
  return await promise
}

it('opens the channel again when it breaks; a request waits for it', async () => {
  const { clock, link, machine, lost } = await open()
  await askHealth(link, signal)
  machine.cut()
  await new Promise((turn) => setImmediate(turn))
  const health = await settle(clock, askHealth(link, signal))
  expect(health.generation).toBe(1)
  expect(machine.guest.sessions).toBe(2)
  expect(lost).toEqual([])
})

it('fails what was under way when the channel broke', async () => {
  const { link, machine } = await open()
  const asked = link.request({ method: 'POST', path: '/exec', body: never(), signal })
  await new Promise((turn) => setImmediate(turn))
  machine.cut()
  await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
})

it('tells once that the guest is lost', async () => {
  let broken = false
  const { clock, link, machine, lost } = await open(() => broken)
  broken = true
  machine.cut()
  await new Promise((turn) => setImmediate(turn))
  const asked = askHealth(link, signal)
  await expect(settle(clock, asked)).rejects.toMatchObject({ code: 'guest_disconnected' })
  expect(lost).toHaveLength(1)
  await expect(askHealth(link, signal)).rejects.toMatchObject({ code: 'guest_disconnected' })
  expect(clock.pending).toBe(0)
})

it('loses a guest whose channel breaks again and again', async () => {
  const { clock, link, machine, lost } = await open()
  for (let round = 0; round < 20 && lost.length === 0; round++) {
    machine.cut()
    for (let turn = 0; turn < 20; turn++) {
      await clock.advance(100)
      await new Promise((done) => setImmediate(done))
    }
  }
  expect(lost).toHaveLength(1)
  await expect(askHealth(link, signal)).rejects.toMatchObject({ code: 'guest_disconnected' })
})

it('is over when it is closed', async () => {
  const { clock, link, machine, lost } = await open()
  const asked = link.request({ method: 'POST', path: '/exec', body: never(), signal })
  await new Promise((turn) => setImmediate(turn))
  link.close(new AppError('sandbox_not_running', 'cannot go on: the sandbox was destroyed'))
  await expect(asked).rejects.toMatchObject({ code: 'sandbox_not_running' })
  await expect(askHealth(link, signal)).rejects.toMatchObject({ code: 'sandbox_not_running' })
  await clock.advance(60_000)
  expect(machine.guest.sessions).toBe(1)
  expect(lost).toEqual([])
})

/** A guest with a command that ends when it is told to. */
async function withCommand() {
  const opened = await open()
  const command = Promise.withResolvers<Partial<ExecResult>>()
  const began = Promise.withResolvers<void>()
  Object.assign(opened.machine.guest.behaviour, {
    exec: async () => {
      began.resolve()
      return await command.promise
    },
  })
  const asked = opened.link.request({ method: 'POST', path: '/exec', body: Buffer.from('{}'), signal })
  asked.catch(() => undefined)
  await began.promise
  return { ...opened, command, asked }
}

async function stdoutOf(response: GuestResponse): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  return JSON.parse(Buffer.concat(parts).toString()).stdout
}

it('keeps what is under way while it is suspended', async () => {
  const { link, vm, connect, command, asked, lost } = await withCommand()
  await link.suspend(signal)
  command.resolve({ stdout: 'x'.repeat(700_000) })
  await link.resume(connect, await vm.connect(signal), signal)
  expect(await stdoutOf(await asked)).toHaveLength(700_000)
  expect((await askHealth(link, signal)).generation).toBe(1)
  expect(lost).toEqual([])
})

it('goes on as often as it is suspended', async () => {
  const { link, vm, connect, command, asked, machine } = await withCommand()
  for (let round = 0; round < 5; round++) {
    await link.suspend(signal)
    await link.resume(connect, await vm.connect(signal), signal)
  }
  command.resolve({ stdout: 'done' })
  expect(await stdoutOf(await asked)).toBe('done')
  expect(machine.guest.sessions).toBe(6)
})

it('lets requests wait while it is suspended', async () => {
  const { link, vm, connect } = await open()
  await link.suspend(signal)
  const health = askHealth(link, signal)
  await link.resume(connect, await vm.connect(signal), signal)
  expect((await health).generation).toBe(1)
})

it('fails what is under way where the agent does not know of it any more', async () => {
  const { link, connect, asked } = await withCommand()
  const other = await open()
  await link.suspend(signal)
  await link.resume(connect, await other.vm.connect(signal), signal)
  await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
  expect((await askHealth(link, signal)).generation).toBe(1)
})

it('suspends in any case: an agent that does not stop loses what is under way', async () => {
  const { link, vm, connect, asked, machine } = await withCommand()
  machine.pause()
  await link.suspend(AbortSignal.timeout(20))
  await expect(asked).rejects.toMatchObject({ code: 'guest_disconnected' })
  machine.resume()
  await link.resume(connect, await vm.connect(signal), signal)
  expect((await askHealth(link, signal)).generation).toBe(1)
})

it('stays suspended when it cannot be resumed, and can be later', async () => {
  const { link, vm, connect, command, asked } = await withCommand()
  await link.suspend(signal)
  const [silent] = duplexPair()
  await expect(link.resume(connect, silent, AbortSignal.timeout(20))).rejects.toThrow()
  expect(silent.destroyed).toBe(true)
  await link.resume(connect, await vm.connect(signal), signal)
  command.resolve({ stdout: 'done' })
  expect(await stdoutOf(await asked)).toBe('done')
})

it('cannot lose a guest while it is suspended', async () => {
  const { clock, link, lost, machine } = await open()
  await link.suspend(signal)
  machine.cut()
  await clock.advance(60_000)
  expect([lost, clock.pending]).toEqual([[], 0])
})

it('can be suspended while it is opened again, and leaves nothing open', async () => {
  const { clock, link, vm, connect, machine, lost } = await open()
  machine.cut()
  await new Promise((turn) => setImmediate(turn))
  const health = askHealth(link, signal)
  await link.suspend(signal)
  expect(clock.pending).toBe(0)
  await link.resume(connect, await vm.connect(signal), signal)
  expect((await health).generation).toBe(1)
  expect(lost).toEqual([])
})

it('fails what is kept when it is closed', async () => {
  const { link, asked } = await withCommand()
  await link.suspend(signal)
  link.close(new AppError('sandbox_not_running', 'cannot go on: the sandbox was destroyed'))
  await expect(asked).rejects.toMatchObject({ code: 'sandbox_not_running' })
})

it('carries the token of the identity, also over a channel that was opened again', async () => {
  const { clock, link, machine } = await open()
  await giveIdentity(link, { sandbox: 'runabcdefghijklmnopqrstuvwxyz', env: {} }, clock, signal)
  const list = () => link.request({ method: 'GET', path: '/files?path=/none', signal })
  expect((await list()).status).toBe(404)
  machine.cut()
  await new Promise((turn) => setImmediate(turn))
  expect((await settle(clock, list())).status).toBe(404)
  link.authorize('of another machine')
  await expect(list()).rejects.toMatchObject({ code: 'guest_error' })
})

async function* never(): AsyncGenerator<Uint8Array> {
  await new Promise(() => undefined)
}
