import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@portico/shared/clock'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../log.ts'
import { Catalog } from './catalog.ts'
import { Records, rootfsOf } from './records.ts'

const config = { env: {}, workdir: '/', user: '', entrypoint: [], cmd: [] }
let folder: string
let used: string[]
let clock: FakeClock

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-images-'))
  used = []
  clock = new FakeClock(1_700_000_000_000)
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('an image is found by its name and by every spelling of the references that led to it', async () => {
  const catalog = await opened()
  const { name } = await add(catalog, 'alpine', 'a', 'docker.io/library/alpine:3.20')
  const found = [
    name,
    'alpine:3.20',
    'docker.io/library/alpine:3.20',
    `alpine@${digestOf('alpine')}`,
    `alpine:9@${digestOf('alpine')}`,
  ]
  expect(found.map((text) => catalog.find(text)?.name)).toEqual(found.map(() => name))
  expect(['alpine', 'alpine:3.21', 'other:3.20', 'Not a name'].map((text) => catalog.find(text))).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ])
})

test('a tag that moved leads to the new image, also after a restart; the old one keeps its name', async () => {
  const catalog = await opened()
  const before = await add(catalog, 'one', 'a', 'docker.io/library/app:1', 'app')
  const after = await add(catalog, 'two', 'b', 'docker.io/library/app:1', 'app')
  for (const there of [catalog, await opened()]) {
    expect(there.find('app:1')?.name).toBe(after.name)
    expect(there.find(before.name)?.references).toEqual([])
  }
})

test('what was used least recently goes first, in an order that a restart keeps', async () => {
  const before = await opened()
  for (const name of ['one', 'two', 'three']) await add(before, name, name)
  await clock.advance(1000)
  const one = before.find('docker.io/library/one:1')
  if (one) before.touch(one)
  // The times of files are set behind the caller's back.
  await expect.poll(async () => (await opened()).all()[0]?.name).toBe(one?.name)
  const catalog = await opened()
  expect(await catalog.free(100)).toBe(1)
  expect(await catalog.free(100)).toBe(1)
  expect(catalog.all().map(({ name }) => name)).toEqual([one?.name])
  expect(await readdir(join(folder, 'rootfs'))).toHaveLength(1)
})

test('what is held, in use or just being added never goes', async () => {
  const catalog = await opened()
  const held = await add(catalog, 'held', 'a')
  const inUse = await add(catalog, 'used', 'b')
  const pinned = await add(catalog, 'pinned', 'c')
  used = [inUse.name]
  const hold = catalog.hold(held.name)
  const pin = catalog.pin(pinned.rootfs)
  expect(await catalog.free(1000)).toBe(0)
  for (const record of [held, inUse, pinned])
    await expect(catalog.remove(record)).rejects.toMatchObject({ code: 'conflict' })
  hold[Symbol.dispose]()
  hold[Symbol.dispose]()
  await pin[Symbol.asyncDispose]()
  used = []
  expect(await catalog.free(1000)).toBe(3)
})

test('what is taken into use while another is removed stays', async () => {
  const catalog = await opened()
  const first = await add(catalog, 'first', 'a')
  const second = await add(catalog, 'second', 'b')
  const freeing = catalog.free(1000)
  // Whichever goes first, the other is still there for whoever asks now.
  const other = [first, second].find(({ name }) => catalog.find(name))
  using _held = catalog.hold(other?.name ?? '')
  expect(await freeing).toBe(1)
  for (const there of [catalog, await opened()]) expect(there.all().map(({ name }) => name)).toEqual([other?.name])
})

test('tags that come to lead to one image at the same time all do, also after a restart', async () => {
  const catalog = await opened()
  const { name, digest, rootfs, sizeBytes, fileDigest } = await add(catalog, 'one', 'a')
  const found = { name, digest, rootfs, sizeBytes, fileDigest, config }
  const tags = ['2', '3', '4'].map((tag) => `docker.io/library/one:${tag}`)
  await Promise.all(tags.map(async (tag) => await catalog.add(found, tag)))
  for (const there of [catalog, await opened()])
    expect([...tags, 'docker.io/library/one:1'].map((tag) => there.find(tag)?.name)).toEqual([name, name, name, name])
})

test('images of the same layers share a file, which goes with the last of them', async () => {
  const catalog = await opened()
  const one = await add(catalog, 'one', 'same')
  await add(catalog, 'two', 'same')
  expect([catalog.size, catalog.bytes]).toEqual([2, 100])
  used = [one.name]
  expect(await catalog.free(100)).toBe(0)
  used = []
  await catalog.remove(one)
  expect(await readdir(join(folder, 'rootfs'))).toHaveLength(1)
  expect(await catalog.free(100)).toBe(1)
  expect(await readdir(join(folder, 'rootfs'))).toEqual([])
})

test('what a crash left is removed: work under way, a file without a record, a record without its file', async () => {
  const catalog = await opened()
  const kept = await add(catalog, 'kept', 'a')
  const lost = await add(catalog, 'lost', 'b')
  const records = await Records.open(folder)
  await records.removeErofs(lost.rootfs)
  await records.work()
  await writeFile(records.erofs(rootfsOf(['orphan'])), 'x')
  await writeFile(join(folder, 'images', 'half.json.1.partial'), '{')
  expect((await opened()).all().map(({ name }) => name)).toEqual([kept.name])
  expect((await readdir(folder, { recursive: true })).length).toBe(4)
})

async function opened(): Promise<Catalog> {
  const records = await Records.open(folder)
  return new Catalog({ records, clock, inUse: () => used }, await records.sweep(silentLog()))
}

async function add(
  catalog: Catalog,
  name: string,
  layers: string,
  reference = `docker.io/library/${name}:1`,
  repository = name,
) {
  await clock.advance(1000)
  const rootfs = rootfsOf([layers])
  const file = join(folder, 'made')
  await writeFile(file, 'x'.repeat(100))
  await (await Records.open(folder)).adopt(file, rootfs)
  const digest = digestOf(name)
  const found = {
    name: `docker.io/library/${repository}@${digest}`,
    digest,
    rootfs,
    sizeBytes: 100,
    fileDigest: rootfs,
    config,
  }
  return await catalog.add(found, reference)
}

function digestOf(text: string): string {
  return rootfsOf([`digest of ${text}`])
}
