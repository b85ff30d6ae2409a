import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { hostPoints } from './host-points.ts'
import { report } from './point.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'portico-doctor-test-'))
  for (const kind of ['pid', 'mnt', 'net', 'ipc', 'uts']) await write(`proc/self/ns/${kind}`, '')
  await write('proc/self/status', 'Name:\tnode\nSeccomp:\t0\n')
  await write('proc/meminfo', 'MemTotal: 9000000 kB\nMemAvailable:    8388608 kB\n')
  await write('sys/fs/cgroup/cgroup.controllers', 'cpu memory pids\n')
  for (const name of ['bwrap', 'mkfs.ext4', 'mmdebstrap', 'mkfs.erofs', 'xz', 'skopeo', 'umoci']) {
    await write(`bin/${name}`, '')
    await chmod(join(root, 'bin', name), 0o755)
  }
})
afterEach(() => rm(root, { recursive: true }))

async function write(path: string, text: string): Promise<void> {
  await mkdir(join(root, path, '..'), { recursive: true })
  await writeFile(join(root, path), text)
}

async function examine(changes = {}) {
  const points = await hostPoints({
    path: [join(root, 'bin')],
    procRoot: join(root, 'proc'),
    sysRoot: join(root, 'sys'),
    stateDir: join(root, 'not', 'there', 'yet'),
    uid: 0,
    nodeVersion: 'v24.1.0',
    ...changes,
  })
  return new Map(points.map((point) => [point.name, point]))
}

it('finds nothing missing on a good host', async () => {
  const points = await examine()
  expect([...points.values()].filter(({ ok, name }) => !ok && name !== 'disk')).toEqual([])
  expect(points.get('memory')?.detail).toBe('8192 MiB available')
})

it('names the package of a program that is missing', async () => {
  await rm(join(root, 'bin/bwrap'))
  await rm(join(root, 'bin/mmdebstrap'))
  const points = await examine()
  expect(points.get('bwrap')).toMatchObject({ ok: false, required: true, mend: 'apt-get install bubblewrap' })
  expect(points.get('mmdebstrap')).toMatchObject({ ok: false, required: false })
})

it('does not count a file that cannot be run', async () => {
  await chmod(join(root, 'bin/bwrap'), 0o644)
  expect((await examine()).get('bwrap')).toMatchObject({ ok: false })
})

it.each([
  ['node', { nodeVersion: 'v20.20.2' }],
  ['root', { uid: 1000 }],
])('says how to mend %s', async (name, changes) => {
  const point = (await examine(changes)).get(name)
  expect(point).toMatchObject({ ok: false, required: true, mend: expect.any(String) })
})

it('tells what the kernel lacks', async () => {
  await rm(join(root, 'proc/self/ns/net'))
  await write('proc/self/status', 'Name:\tnode\n')
  const points = await examine()
  expect(points.get('namespaces')).toMatchObject({ ok: false, detail: 'the kernel lacks: net' })
  expect(points.get('seccomp')).toMatchObject({ ok: false })
})

it('tells old control groups from none', async () => {
  await rm(join(root, 'sys/fs/cgroup/cgroup.controllers'))
  expect((await examine()).get('cgroups')).toMatchObject({ ok: false, required: false, detail: 'none are mounted' })
  await mkdir(join(root, 'sys/fs/cgroup/memory'), { recursive: true })
  expect((await examine()).get('cgroups')).toMatchObject({ detail: 'version 1' })
})

it('prints a line for each point and how to mend it', () => {
  const text = report([
    { name: 'node', ok: true, required: true, detail: 'v24' },
    { name: 'bwrap', ok: false, required: true, detail: 'not installed', mend: 'apt-get install bubblewrap' },
    { name: 'kvm', ok: false, required: false, detail: 'there is no /dev/kvm', mend: 'Use a host with KVM.' },
  ])
  expect(text).toMatchInlineSnapshot(`
    "ok       node   v24
    missing  bwrap  not installed
                    apt-get install bubblewrap
    without  kvm    there is no /dev/kvm
                    Use a host with KVM.

    This host cannot run sandboxes: 1 missing.
    "
  `)
})
