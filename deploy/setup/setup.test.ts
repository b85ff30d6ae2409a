import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CheckoutCopy, ended, prints } from './checkout-copy.ts'

test('a run with nothing to do is silent, quick and writes nothing', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  expect(await copy.run('setup.sh')).toMatchObject({ code: 0 })
  const before = await stat(join(copy.home, 'cache'))

  const times: number[] = []
  for (let n = 0; n < 5; n++) {
    const begun = performance.now()
    expect(await copy.run('setup.sh')).toEqual({ code: 0, output: '' })
    times.push(performance.now() - begun)
  }
  expect(Math.min(...times)).toBeLessThan(300)
  expect((await stat(join(copy.home, 'cache'))).mtimeMs).toBe(before.mtimeMs)
})

test('--check names each step, says by its exit code that some are to be done, and leaves the disk alone', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.installHostPackages()
  const { code, output } = await copy.run('setup.sh', '--check')
  expect(code).toBe(1)
  expect(output).toContain('setup: host-packages: done')
  expect(output).toContain('setup: vmm-root: to do')
  expect(existsSync(copy.home)).toBe(false)
})

test('assets.json names every part and is written anew when a part changes', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  await copy.run('setup.sh')
  const file = join(copy.home, 'cache', 'assets.json')
  const first = JSON.parse(await readFile(file, 'utf8'))
  expect(first).toMatchObject({
    schema: 1,
    kernelVersion: '6.12-test',
    qemuVersion: '10.0.0',
    agentVersion: expect.stringMatching(/^1\.2\.3\+[0-9a-f]{12}$/),
    images: { python: { digest: 'sha256:0123', workdir: '/' }, node: { env: { LANG: 'C.UTF-8' } } },
  })
  expect(existsSync(first.initramfs)).toBe(true)

  await copy.write('guest-agent/main.go', 'package main\n')
  expect(await copy.run('setup.sh', '--check')).toMatchObject({ code: 1 })
  await copy.build()
  expect(await copy.run('setup.sh')).toMatchObject({ code: 0 })
  expect(JSON.parse(await readFile(file, 'utf8')).agentVersion).not.toBe(first.agentVersion)
})

test('a changed test or page of the agent does not rebuild it', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  await copy.run('setup.sh')
  await copy.write('guest-agent/main_test.go', 'package main\n')
  await copy.write('guest-agent/README.md', 'Agent\n')
  expect(await copy.run('setup.sh', '--check')).toMatchObject({ code: 0 })
})

test('a part that went missing is made again before the assets name it', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  await copy.run('setup.sh')
  await copy.evaluate('rm -r "$agent_folder"')
  const compiled = `while [[ $2 != /output ]]; do shift; done; printf x >"$1/agent"; chmod +x "$1/agent"`
  await copy.standIn('bwrap', compiled)
  expect(await copy.run('setup.sh')).toMatchObject({ code: 0, output: expect.stringContaining('guest agent: done') })
  expect(await copy.run('setup.sh')).toEqual({ code: 0, output: '' })
})

test('folders of older recipes go at the end, unless a running program or a platform at rest uses them', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  const cache = join(copy.home, 'cache')
  const [used, unused] = [join(cache, 'vmm-0000feed0000'), join(cache, 'agent-0000feed0001')]
  await mkdir(used)
  await mkdir(unused)
  await copy.standIn('hold', 'echo held >&2; read -r')
  const holder = copy.start('../../programs/hold', used)
  await prints(holder, 'held')
  await copy.run('setup.sh')
  expect(existsSync(unused)).toBe(false)
  expect(existsSync(used)).toBe(true)

  holder.stdin.end()
  await once(holder, 'close')
  await copy.write(`state/cache/users/${process.pid}`, '')
  await copy.write('package.json', '{ "name": "copy", "version": "1.2.4" }')
  await copy.build()
  await copy.run('setup.sh')
  expect(existsSync(used)).toBe(true)
})

test('two set-ups at once: the second says that it waits, and finds all done', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  await copy.write('package-lock.json', '{ "changed": true }')
  const go = await copy.pipe('go')
  await copy.standIn(
    'npm',
    `mkdir -p node_modules/.bin
     printf '#!/bin/sh\\necho v24.0.0\\n' >node_modules/.bin/node; chmod +x node_modules/.bin/node
     read -r <${go}
     touch node_modules/.package-lock.json; echo ran >>npm-runs`,
  )
  const first = copy.start('setup.sh')
  const firstEnd = ended(first)
  await prints(first, 'npm packages: started')
  const second = copy.start('setup.sh')
  const secondEnd = ended(second)
  await prints(second, 'another set-up is at work here; waiting for it')
  await writeFile(go, 'on\n')
  expect(await firstEnd).toMatchObject({ code: 0 })
  expect(await secondEnd).toMatchObject({ code: 0 })
  expect(await readFile(join(copy.root, 'npm-runs'), 'utf8')).toBe('ran\n')
})

test('a failed step says why and ends set-up with its code', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.build()
  await copy.write('package-lock.json', '{ "changed": true }')
  await copy.standIn('npm', 'echo the registry is on fire; exit 7')
  const { code, output } = await copy.run('setup.sh')
  expect(code).toBe(1)
  expect(output).toContain("cannot finish the step 'npm packages'")
  expect(output).toContain('the registry is on fire')
})

test('an unknown step is refused with the list of steps', async () => {
  await using copy = await CheckoutCopy.make()
  const { code, output } = await copy.run('setup.sh', '--only', 'everything')
  expect(code).toBe(2)
  expect(output).toContain('host-packages mirror images build-root')
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a build ended by ${signal} leaves nothing that counts, and the next run clears it away`, async () => {
    await using mirror = await serveSuite()
    await using copy = await CheckoutCopy.make()
    copy.environment.PORTICO_DEBIAN_MIRROR = mirror.url
    const atWork = await copy.pipe('at-work')
    await copy.installHostPackages()
    await copy.standIn('mmdebstrap', `mkdir -p "\${@: -2:1}/usr"; echo $$ >${atWork}; exec sleep 60`)
    const run = copy.start('setup.sh', '--only', 'build-root')
    const end = ended(run)
    const builder = Number(await readFile(atWork, 'utf8'))
    run.kill(signal)
    await end
    if (signal === 'SIGKILL') {
      expect(await cached(copy)).toContainEqual(expect.stringMatching(/^build-[0-9a-f]+\.partial$/))
      process.kill(builder)
    }
    await copy.standIn('mmdebstrap', 'echo no network; exit 1')
    expect(await copy.run('setup.sh', '--check', '--only', 'build-root')).toMatchObject({ code: 1 })
    expect((await copy.run('setup.sh', '--only', 'build-root')).output).toContain('no network')
    expect(await cached(copy)).toEqual(['setup.lock'])
  })
}

async function cached(copy: CheckoutCopy): Promise<string[]> {
  return await readdir(join(copy.home, 'cache'))
}

/** A Debian mirror as far as set-up asks it which suite it serves. */
async function serveSuite(): Promise<AsyncDisposable & { url: string }> {
  const release =
    'Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 06 Sep 2025 10:00:00 UTC\n'
  const server = createServer((_, response) => void response.end(`-----BEGIN PGP SIGNED MESSAGE-----\n\n${release}`))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`,
    async [Symbol.asyncDispose]() {
      server.close()
      await once(server, 'close')
    },
  }
}
