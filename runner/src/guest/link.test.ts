import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { expect, it } from 'vitest'
import { FakeDriver } from '../vm/fake/index.ts'
import { askHealth } from './agent.ts'
import { GuestChannel } from './channel.ts'
import { GuestLink } from './link.ts'

const signal = new AbortController().signal
const spec = { id: 'x', generation: 1, slot: 0, image: 'python', vcpus: 1, memoryMib: 128, diskMib: 64 }

async function open(connectFails = () => false) {
  const clock = new FakeClock()
  const driver = new FakeDriver()
  const vm = await driver.start(spec, signal)
  const lost: AppError[] = []
  const connect = async (limit: AbortSignal) => {
    if (connectFails()) throw new AppError('guest_disconnected', 'cannot reach the guest')
    return await vm.connect(limit)
  }
  const first = await GuestChannel.open(await vm.connect(signal), { signal, again: false, clock })
  const link = new GuestLink({ connect, first, clock, onLost: (error) => lost.push(error) })
  return { clock, link, lost, machine: driver.machine('x') }
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

async function* never(): AsyncGenerator<Uint8Array> {
  await new Promise(() => undefined)
}
