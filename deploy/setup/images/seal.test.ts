import { execFile } from 'node:child_process'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { CheckoutCopy } from '../checkout-copy.ts'

test('an image keeps nothing of the host it was made on: no proxy, no password, no name server, no logs', async () => {
  await using copy = await CheckoutCopy.make()
  const root = await sealed(copy, {
    'etc/apt/apt.conf.d/00mmdebstrap': 'Acquire::http::Proxy "http://user:secret@proxy";',
    'etc/apt/apt.conf.d/99mmdebstrap': 'Acquire::http::Proxy "http://user:secret@proxy";',
    'etc/apt/sources.list': 'deb http://user:secret@mirror.example/debian trixie main',
    'etc/resolv.conf': 'nameserver secret',
    'var/log/dpkg.log': 'secret',
    'var/lib/apt/lists/secret_Packages': 'secret',
    'tmp/left': 'secret',
  })
  const found = promisify(execFile)('grep', ['--recursive', 'secret', root])
  await expect(found).rejects.toMatchObject({ code: 1, stdout: '' })
  expect(await readFile(join(root, 'etc/apt/sources.list'), 'utf8')).toBe(
    'deb http://mirror.example/debian trixie main\n',
  )
})

test('an image has what every sandbox starts with', async () => {
  await using copy = await CheckoutCopy.make()
  const root = await sealed(copy, {})
  for (const folder of ['proc', 'sys', 'dev', 'run']) expect((await stat(join(root, folder))).isDirectory()).toBe(true)
  expect((await stat(join(root, 'tmp'))).mode & 0o7777).toBe(0o1777)
  expect(await readFile(join(root, 'etc/hosts'), 'utf8')).toMatch(/^127\.0\.0\.1 localhost$/m)
  expect((await stat(join(root, 'etc/resolv.conf'))).isFile()).toBe(true)
})

/** Seals a root that holds these files and resolves with the folder that would have been packed. */
async function sealed(copy: CheckoutCopy, files: Readonly<Record<string, string>>): Promise<string> {
  const least = {
    'etc/dpkg/dpkg.cfg.d/99mmdebstrap': '',
    'etc/shadow': 'root:*:20000:0:99999:7:::\n',
    'etc/default/x': '',
    'etc/apt/sources.list': '',
  }
  for (const [path, text] of Object.entries({ ...least, ...files })) await copy.write(`root/${path}`, text)
  await copy.standIn('mkfs.erofs', `cp -a "\${@: -1}" "\${@: -2:1}"`)
  copy.environment.PORTICO_PRESETS_MIRROR = 'http://user:secret@mirror.example/debian'
  copy.environment.PORTICO_PRESETS_SUITE = 'trixie'
  copy.environment.PORTICO_PRESETS_EPOCH = '1757152800'
  const packed = join(copy.root, 'packed')
  expect(await copy.run('images/seal.sh', join(copy.root, 'root'), packed)).toMatchObject({ code: 0 })
  return packed
}
