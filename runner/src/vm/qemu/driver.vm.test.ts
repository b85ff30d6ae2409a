import { readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AppError } from '@portico/shared/errors'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadAssets } from '../../assets.ts'
import { engineConfig, parseConfig } from '../../config.ts'
import { describeError, silentLog } from '../../log.ts'
import { statePaths } from '../../paths.ts'
import { killProcess } from '../../process/kill.ts'
import { assetsFile, type TestFolder, testFolder } from '../../testing/host.ts'
import { vmDriverConformance } from '../conformance.ts'
import type { Vm } from '../driver.ts'
import { readState } from '../state-file.ts'
import { type OpenedDriver, openQemu } from './open.ts'

async function open(folder: TestFolder, assets = assetsFile): Promise<OpenedDriver> {
  const config = { stateDir: folder.stateDir, assets, accelerator: assets === assetsFile ? 'auto' : 'tcg' }
  return await openQemu(parseConfig(engineConfig, config), silentLog())
}

async function recordOf(folder: TestFolder, id: string) {
  const state = await readState(statePaths(folder.stateDir).vm(id).state)
  if (!state) throw new Error(`no record of ${id}`)
  return state
}

vmDriverConformance('QEMU', async () => {
  const folder = await testFolder()
  let opened = await open(folder)
  return {
    driver: opened.driver,
    crash: async (vm: Vm) => {
      const { qemu } = await recordOf(folder, vm.id)
      await killProcess(qemu, { limitMs: 5000, signal: new AbortController().signal })
    },
    restart: async () => {
      await opened.letGo()
      opened = await open(folder)
      return opened.driver
    },
    leftovers: () => folder.leftovers(),
    close: async () => {
      await opened.close()
      await folder.remove()
    },
  }
})

let folder: TestFolder
let opened: OpenedDriver
let vm: Vm
let pid: number

beforeAll(async () => {
  // So deep that the sockets' paths do not fit into an address.
  folder = await testFolder(4)
  opened = await open(folder)
  const [image = ''] = opened.driver.images.keys()
  const spec = { id: 'jailed', slot: 5, image, vcpus: 1, memoryMib: 256, diskMib: 128 }
  vm = await opened.driver.boot(spec, AbortSignal.timeout(20_000))
  pid = (await recordOf(folder, 'jailed')).qemu.pid
})
afterAll(async () => {
  await vm?.stop()
  await opened?.close()
  await folder?.remove()
})

async function statusOf(process: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${process}/status`, 'utf8')
  return new Map(text.split('\n').map((line) => line.split(/:\s*/, 2) as [string, string]))
}

it('runs QEMU as a user of its own, without capabilities, unable to gain any, its system calls filtered', async () => {
  const status = await statusOf(pid)
  const uids = status.get('Uid')?.split(/\s+/) ?? []
  expect(new Set(uids).size).toBe(1)
  expect(Number(uids[0])).toBeGreaterThanOrEqual(0x70000000)
  expect(Number(uids[0]) % 1024).toBe(5)
  expect(status.get('Gid')?.split(/\s+/)[0]).toBe(uids[0])
  expect(status.get('Groups')?.trim()).toBe('')
  for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    expect(status.get(name)).toBe('0000000000000000')
  expect(status.get('NoNewPrivs')).toBe('1')
  expect(status.get('Seccomp')).toBe('2')
})

it.each(['mnt', 'pid', 'net', 'ipc', 'uts'])('gives QEMU a %s namespace of its own', async (kind) => {
  expect(await readlink(`/proc/${pid}/ns/${kind}`)).not.toBe(await readlink(`/proc/self/ns/${kind}`))
})

it('shows QEMU nothing writable of the host but its own folder', async () => {
  const mounts = (await readFile(`/proc/${pid}/mounts`, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const places = mounts.map(([, place = '', , options = '']) => ({
    place,
    writable: options.split(',').includes('rw'),
  }))
  const writable = places.filter((mount) => mount.writable && !mount.place.startsWith('/dev'))
  // A machine that boots fills its memory's file, which machines that are restored cannot write.
  expect(writable.map(({ place }) => place)).toEqual(['/run/vm', '/run/memory'])
  expect(
    places.map(({ place }) => place).filter((place) => place.startsWith('/proc') || place.startsWith('/sys')),
  ).toEqual([])
})

it('does not let QEMU hold a descriptor of the host', async () => {
  const names = await readdir(`/proc/${pid}/fd`)
  const links = await Promise.all(names.map((name) => readlink(join(`/proc/${pid}/fd`, name)).catch(() => '')))
  const strange = links.filter(
    (link) => !/^(socket:|pipe:|anon_inode:|\/dev\/(null|kvm)$|\/run\/|\/memfd:|$)/.test(link),
  )
  expect(strange).toEqual([])
})

it('keeps its record where QEMU cannot write', async () => {
  const paths = statePaths(folder.stateDir).vm('jailed')
  expect((await stat(paths.folder)).uid).toBe(process.getuid?.())
  expect((await stat(paths.folder)).mode & 0o777).toBe(0o700)
  expect((await stat(paths.vm)).uid).not.toBe(process.getuid?.())
})

it.each([
  ['an image whose file is gone', { images: { python: { erofs: '/no/such/file', digest: 'sha256:0' } } }],
  ['a kernel that is none', { kernel: '/etc/hostname' }],
])('fails clearly with %s, tells the user no path, and leaves nothing', async (_what, change) => {
  const own = await testFolder()
  const file = join(own.stateDir, '..', 'assets.json')
  await writeFile(file, JSON.stringify({ ...(await loadAssets(assetsFile)), ...change }))
  const { driver, close } = await open(own, file)
  try {
    const spec = { id: 'broken', slot: 0, image: 'python', vcpus: 1, memoryMib: 256, diskMib: 128 }
    const error = await driver.boot(spec, AbortSignal.timeout(20_000)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'boot_failed',
      message: expect.stringContaining('cannot start the virtual machine'),
    })
    expect((error as AppError).message).not.toContain('/')
    expect(describeError(error)).toMatchObject({ causes: [expect.stringMatching(/\S/)] })
    expect(await own.leftovers()).toEqual([])
  } finally {
    await close()
    await own.remove()
  }
})
