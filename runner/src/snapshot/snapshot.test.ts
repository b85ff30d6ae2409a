import { cp, link, mkdtemp, open, readdir, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeDriver } from '../vm/fake/index.ts'
import type { MachineState } from '../vm/machine-state.ts'
import { isSaved, removeSaved, sweepSaved } from './folders.ts'
import { parseManifest, sealManifest } from './manifest.ts'
import { openState } from './open.ts'
import { saveState, saveSteps } from './save.ts'

const never = new AbortController().signal
const spec = { id: 'vm', slot: 0, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 64 }
let root: string
let folder: string
let driver: FakeDriver
let state: MachineState

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-snapshot-test-'))
  folder = join(root, 'saved', 'one')
  driver = new FakeDriver({ folder: root })
  const vm = await driver.boot(spec, never)
  driver.machine('vm').guest.memory = 'what it thinks of'
  driver.machine('vm').guest.files.set('/a', Buffer.from('its file'))
  state = await vm.capture({ pages: 'memory', signal: never })
  await vm.stop()
})
afterEach(async () => {
  await state.release()
  await rm(root, { recursive: true })
})

const save = () => saveState(state, folder, { kind: 'hibernation', generation: 3 })
const openSaved = () => openState(folder, driver.versions, never)

async function restored(from: MachineState) {
  const vm = await driver.restore({ ...spec, id: 'again' }, from, never)
  const { memory, files } = driver.machine('again').guest
  await vm.stop()
  return { memory, file: files.get('/a')?.toString() }
}

it('saves a state that is found again after the captured one is released', async () => {
  const { sizeBytes } = await save()
  expect(sizeBytes).toBeGreaterThan(0)
  await state.release()
  const opened = await openSaved()
  await opened.verify()
  expect(opened.manifest).toMatchObject({ kind: 'hibernation', generation: 3 })
  expect(opened.state.shape).toEqual(state.shape)
  expect(opened.state.pages.runs).toEqual(state.pages.runs)
  expect(await restored(opened.state)).toEqual({ memory: 'what it thinks of', file: 'its file' })
})

it('saves a state whose pages are in a file, and a saved state once more', async () => {
  const vm = await driver.restore(spec, state, never)
  const second = await vm.capture({ pages: 'file', signal: never })
  await vm.stop()
  await saveState(second, folder, { kind: 'snapshot', generation: 1 })
  await second.release()
  const copy = join(root, 'saved', 'two')
  await saveState((await openSaved()).state, copy, { kind: 'snapshot', generation: 1 })
  await removeSaved(folder)
  const opened = await openState(copy, driver.versions, never)
  await opened.verify()
  expect(await restored(opened.state)).toEqual({ memory: 'what it thinks of', file: 'its file' })
})

it('shares the memory that many machines map instead of copying it', async () => {
  await save()
  expect((await stat(join(folder, 'base'))).ino).toBe((await stat(state.base.file)).ino)
})

it('refuses a folder that exists, and leaves it as it is', async () => {
  await save()
  await expect(save()).rejects.toMatchObject({ code: 'internal' })
  await (await openSaved()).verify()
})

it.each(saveSteps)('leaves nothing when it fails at the step %s', async (failing) => {
  const onStep = (step: string) => {
    if (step === failing) throw new Error('a failure')
  }
  await expect(saveState(state, folder, { kind: 'snapshot', generation: 1, onStep })).rejects.toThrow()
  expect(await readdir(join(root, 'saved'))).toEqual([])
})

it.each(saveSteps)('leaves no state or a whole one when the runner is killed at the step %s', async (last) => {
  const reached = Promise.withResolvers<void>()
  const onStep = (step: string) => {
    if (step !== last) return undefined
    reached.resolve()
    return new Promise<void>(() => undefined)
  }
  void saveState(state, folder, { kind: 'snapshot', generation: 1, onStep })
  await reached.promise
  const isWhole = last === 'rename' || last === 'sync'
  expect(await isSaved(folder)).toBe(isWhole)
  if (isWhole) await (await openSaved()).verify()
  else await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_not_found' })
  expect(await sweepSaved(join(root, 'saved'))).toEqual(isWhole ? ['one'] : [])
  expect(await readdir(join(root, 'saved'))).toEqual(isWhole ? ['one'] : [])
})

it('finds no saved state where none is', async () => {
  await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_not_found' })
  expect(await sweepSaved(join(root, 'saved'))).toEqual([])
})

describe('damage', () => {
  const parts = ['base', 'device', 'pages', 'runs', 'layer-0']
  beforeEach(save)

  /** The outcome of all that happens before somebody may use the machine. */
  const proof = async () => await (await openSaved()).verify()

  it.each(parts)('refuses a cut off part: %s', async (part) => {
    const file = join(folder, part)
    await truncate(file, (await stat(file)).size - 1)
    await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_damaged' })
  })

  it.each(parts)('refuses a missing part: %s', async (part) => {
    await unlink(join(folder, part))
    await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_damaged' })
  })

  it.each(parts)('refuses a flipped bit: %s', async (part) => {
    await flip(join(folder, part))
    await expect(proof()).rejects.toMatchObject({ code: 'snapshot_damaged' })
  })

  it('refuses a flipped bit anywhere in the manifest', async () => {
    const file = join(folder, 'manifest.json')
    const good = await readFile(file)
    for (let at = 0; at < good.length - 1; at += 7) {
      const bad = Buffer.from(good)
      bad.writeUInt8(bad.readUInt8(at) ^ 1, at)
      await writeFile(file, bad)
      await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_damaged' })
    }
  })

  it('refuses a part of another state', async () => {
    const other = join(root, 'saved', 'other')
    const pages = join(folder, 'pages')
    await cp(folder, other, { recursive: true })
    await writeFile(join(other, 'pages'), Buffer.alloc((await stat(pages)).size, 1))
    await unlink(pages)
    await link(join(other, 'pages'), pages)
    await expect(proof()).rejects.toMatchObject({ code: 'snapshot_damaged' })
  })
})

it.each([{ qemu: 'fake-2' }, { cpu: 'another' }, { accelerator: 'kvm' as const }])(
  'refuses a state of another machine: %o',
  async (other) => {
    await save()
    const opening = openState(folder, { ...driver.versions, ...other }, never)
    await expect(opening).rejects.toMatchObject({ code: 'snapshot_incompatible' })
  },
)

it('refuses another format, whatever else it holds', async () => {
  await save()
  const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'))
  const later = sealManifest({ ...manifest, format: 2 as unknown as 1 })
  await writeFile(join(folder, 'manifest.json'), later)
  await expect(openSaved()).rejects.toMatchObject({ code: 'snapshot_incompatible' })
})

it('ends with the reason of its signal', async () => {
  await save()
  const reason = new Error('changed my mind')
  await expect(openState(folder, driver.versions, AbortSignal.abort(reason))).rejects.toBe(reason)
})

/** In place, as a bad disk does; what was linked is the same file. */
async function flip(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  const byte = Buffer.alloc(1)
  const at = Math.floor((await handle.stat()).size / 2)
  await handle.read(byte, 0, 1, at)
  byte.writeUInt8(byte.readUInt8(0) ^ 1)
  await handle.write(byte, 0, 1, at)
  await handle.close()
}
