import { lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { loadAssets } from '../assets.ts'
import { type StatePaths, statePaths } from '../paths.ts'
import { runChecked } from '../process/run.ts'
import { assetsFile, type TestFolder, testFolder } from '../testing/host.ts'
import { allocatedBytes, ScratchDisks } from './scratch.ts'

let folder: TestFolder
let paths: StatePaths
let disks: ScratchDisks

beforeEach(async () => {
  folder = await testFolder()
  paths = statePaths(folder.stateDir)
  disks = new ScratchDisks(paths, (await loadAssets(assetsFile)).vmmRoot)
  await disks.open()
  await mkdir(paths.vms, { recursive: true })
})
afterEach(() => folder.remove())

it('makes a clean file system of the asked size that takes almost no room', async () => {
  const raw = await disks.base(1024)
  await runChecked('e2fsck', ['-f', '-n', raw], { limitMs: 10_000 })
  expect((await lstat(raw)).size).toBe(1024 * 2 ** 20)
  expect(await allocatedBytes(raw)).toBeLessThan(4 * 2 ** 20)
  expect((await lstat(raw)).mode & 0o777).toBe(0o444)
})

it('makes each size once, however many ask at the same time', async () => {
  const files = ['a', 'b', 'c', 'd'].map((name) => join(paths.vms, name))
  await Promise.all(files.map((file) => disks.create(128, file, 4711)))
  expect((await readdir(paths.disks)).sort()).toEqual(['ext4-128.qcow2', 'ext4-128.raw'])
  for (const file of files) {
    const { uid, gid, mode } = await lstat(file)
    expect([uid, gid, mode & 0o777]).toEqual([4711, 4711, 0o600])
    expect(await allocatedBytes(file)).toBeLessThan(2 ** 20)
  }
})

it('uses what an earlier runner made, and removes what it left half made', async () => {
  const raw = await disks.base(128)
  const before = await lstat(raw)
  await writeFile(join(paths.disks, 'ext4-256.raw.1-1.making'), 'half')
  const again = new ScratchDisks(paths, (await loadAssets(assetsFile)).vmmRoot)
  await again.open()
  expect((await lstat(await again.base(128))).ino).toBe(before.ino)
  expect((await readdir(paths.disks)).sort()).toEqual(['ext4-128.qcow2', 'ext4-128.raw'])
})

it('does not overwrite a disk', async () => {
  const file = join(paths.vms, 'a')
  await disks.create(128, file, undefined)
  await expect(disks.create(128, file, undefined)).rejects.toMatchObject({ code: 'EEXIST' })
})

it('fails clearly and leaves nothing where a disk cannot be made', async () => {
  const broken = new ScratchDisks(paths, '/no/such/root')
  await expect(broken.base(128)).rejects.toMatchObject({
    code: 'internal',
    message: 'cannot make an empty disk on this runner',
  })
  expect((await readdir(paths.disks)).filter((name) => name.endsWith('.making'))).toEqual([])
  await rm(paths.disks, { recursive: true })
})
