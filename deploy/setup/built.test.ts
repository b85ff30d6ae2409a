/** What set-up built for this checkout, looked at from outside. */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { paths } from '../checkout.ts'

const run = promisify(execFile)

interface Assets {
  vmmRoot: string
  kernel: string
  kernelVersion: string
  initramfs: string
  agentVersion: string
  images: Record<string, { erofs: string; digest: string }>
}
const assets = JSON.parse(await readFile(paths.assets, 'utf8')) as Assets

test('images are read-only erofs files with the digest that assets.json gives', async () => {
  expect(Object.keys(assets.images).sort()).toEqual(['node', 'python'])
  for (const { erofs, digest } of Object.values(assets.images)) {
    const hash = createHash('sha256')
    await pipeline(createReadStream(erofs), hash)
    expect(`sha256:${hash.digest('hex')}`).toBe(digest)
    expect((await stat(erofs)).mode & 0o777).toBe(0o444)
  }
}, 60_000)

test('daemons may start in the images: what kept them from it while packages were installed is gone', async () => {
  for (const { erofs } of Object.values(assets.images)) {
    const show = (path: string) => run('dump.erofs', [`--path=/usr/sbin/${path}`, erofs])
    expect((await show('start-stop-daemon')).stdout).toContain('regular file')
    for (const gone of ['start-stop-daemon.REAL', 'policy-rc.d']) {
      expect((await show(gone)).stderr).toContain('read inode failed')
    }
  }
})

test('the initramfs holds the agent as /init and modules of this kernel, each after those it needs', async () => {
  const { stdout: names } = await run('cpio', ['--list', '--quiet', '-F', assets.initramfs])
  const files = names.trim().split('\n')
  expect(files).toEqual(expect.arrayContaining(['init', 'dev', 'proc', 'sys', 'lib/modules/load-order']))

  const { stdout } = await run('cpio', [
    '--extract',
    '--to-stdout',
    '--quiet',
    '-F',
    assets.initramfs,
    'lib/modules/load-order',
  ])
  const order = stdout.trim().split('\n')
  expect(order).toEqual(
    expect.arrayContaining(['virtio_mmio.ko', 'virtio_blk.ko', 'erofs.ko', 'overlay.ko', 'virtio_net.ko']),
  )
  expect(files).toEqual(expect.arrayContaining(order.map((name) => `lib/modules/${name}`)))

  const table = await readFile(join(assets.vmmRoot, 'usr/lib/modules', assets.kernelVersion, 'modules.dep'), 'utf8')
  for (const line of table.trim().split('\n')) {
    const [module = '', ...needed] = line
      .split(/:? +|:$/)
      .filter(Boolean)
      .map((path) => path.replace(/^.*\/|\.xz$/g, ''))
    const place = order.indexOf(module)
    if (place < 0) continue
    for (const name of needed) expect(order.slice(0, place), `${module} needs ${name}`).toContain(name)
  }
})

test('the machine root has no shell and no program that changes user by itself', async () => {
  const { stdout } = await run('find', [assets.vmmRoot, '-xdev', '-type', 'f', '-perm', '/6000'])
  expect(stdout).toBe('')
  for (const shell of ['sh', 'bash', 'dash', 'perl', 'python3']) {
    await expect(stat(join(assets.vmmRoot, 'usr/bin', shell))).rejects.toThrow('ENOENT')
  }
})

test('QEMU, qemu-img and setpriv run in the machine root', async () => {
  for (const program of ['qemu-system-x86_64', 'qemu-img', 'setpriv']) {
    const jail = [
      '--ro-bind',
      assets.vmmRoot,
      '/',
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--unshare-net',
      '--die-with-parent',
    ]
    const { stdout } = await run('bwrap', [...jail, `/usr/bin/${program}`, '--version'])
    expect(stdout).toMatch(/version \d|util-linux \d/)
  }
})
