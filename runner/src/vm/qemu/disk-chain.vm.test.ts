import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { engineConfig, parseConfig } from '../../config.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { silentLog } from '../../log.ts'
import { statePaths } from '../../paths.ts'
import { assetsFile, type TestFolder, testFolder } from '../../testing/host.ts'
import type { Vm } from '../driver.ts'
import type { MachineState } from '../machine-state.ts'
import { maxFrozen } from './disk-chain.ts'
import { type OpenedDriver, openQemu } from './open.ts'

let folder: TestFolder
let opened: OpenedDriver
let template: MachineState
let vm: Vm
let channel: GuestChannel
let slot = 0

const signal = () => AbortSignal.timeout(30_000)
const specOf = (id: string) => ({ id, slot: slot++, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 128 })
const layersOf = async (id: string) => (await readdir(statePaths(folder.stateDir).vm(id).layers)).length

beforeAll(async () => {
  folder = await testFolder()
  opened = await openQemu(parseConfig(engineConfig, { stateDir: folder.stateDir, assets: assetsFile }), silentLog())
  const booted = await opened.driver.boot(specOf('booted'), signal())
  const first = await GuestChannel.open(await booted.connect(signal()), { signal: signal(), again: false })
  first.close()
  await first.closed
  template = await booted.capture({ pages: 'memory', signal: signal() })
  await booted.stop()
  vm = await opened.driver.restore(specOf('chain'), template, signal())
  channel = await goOn(vm)
}, 90_000)
afterAll(async () => {
  await vm?.stop()
  await template?.release()
  await opened?.close()
  await folder?.remove()
})

async function goOn(machine: Vm): Promise<GuestChannel> {
  const link = await machine.connect(signal())
  await machine.resume()
  return await GuestChannel.open(link, { signal: signal(), again: true })
}

async function write(name: string, text: string): Promise<void> {
  const path = `/files?path=${encodeURIComponent(name)}`
  const { status, body } = await channel.request({ method: 'PUT', path, body: Buffer.from(text), signal: signal() })
  for await (const _ of body);
  expect(status).toBe(200)
}

async function read(from: GuestChannel, name: string): Promise<string> {
  const path = `/files?path=${encodeURIComponent(name)}`
  const { body } = await from.request({ method: 'GET', path, signal: signal() })
  const parts: Uint8Array[] = []
  for await (const bytes of body) parts.push(bytes)
  return Buffer.concat(parts).toString()
}

it('merges its layers while the machine runs, so that captures do not pile up, and loses nothing', {
  timeout: 90_000,
}, async () => {
  const rounds = 3 * maxFrozen
  const text = (round: number) => `${round}:`.repeat(20_000)
  let deepest = 0
  let state: MachineState | undefined
  for (let round = 0; round < rounds; round++) {
    await write(`/f${round}`, text(round))
    await write('/last', String(round))
    await state?.release()
    state = await vm.capture({ pages: 'memory', signal: signal() })
    await vm.resume()
    deepest = Math.max(deepest, state.layers.length)
  }
  expect(deepest).toBeLessThan(rounds)
  await expect
    .poll(() => layersOf('chain'), { timeout: 10_000 })
    .toBeLessThanOrEqual(template.layers.length + maxFrozen)
  for (let round = 0; round < rounds; round++) expect(await read(channel, `/f${round}`)).toBe(text(round))
  const last = await vm.capture({ pages: 'memory', signal: signal() })
  await vm.resume()
  const child = await opened.driver.restore(specOf('child'), last, signal())
  try {
    // What the guest's own cache holds would hide a lost layer.
    const other = await goOn(child)
    await other.request({
      method: 'POST',
      path: '/exec',
      body: Buffer.from('{"shell":"echo 3 > /proc/sys/vm/drop_caches"}'),
      signal: signal(),
    })
    for (let round = 0; round < rounds; round++) expect(await read(other, `/f${round}`)).toBe(text(round))
    expect(await read(other, '/last')).toBe(String(rounds - 1))
  } finally {
    await child.stop()
    await last.release()
    await state?.release()
  }
})

it('merges what it was restored with, too', { timeout: 90_000 }, async () => {
  const rounds = 2 * maxFrozen
  let machine = vm
  for (let round = 0; round < rounds; round++) {
    await write(`/g${round}`, String(round))
    channel.close()
    await channel.closed
    const state = await machine.capture({ pages: 'file', signal: signal() })
    await machine.stop()
    machine = await opened.driver.restore(specOf(`next-${round}`), state, signal())
    vm = machine
    await state.release()
    channel = await goOn(machine)
    if (round >= rounds / 2)
      await expect
        .poll(() => layersOf(machine.id), { timeout: 10_000 })
        .toBeLessThanOrEqual(template.layers.length + maxFrozen)
  }
  for (let round = 0; round < rounds; round++) expect(await read(channel, `/g${round}`)).toBe(String(round))
  expect(await read(channel, '/f0')).toContain('0:')
})
