/** Checkpoints on a real machine: the guest's own file system is what has to be exact, after writes that nobody flushed. */

import { readdir } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { giveTemplates, keepTemplates } from '../../../tests/kit/templates.ts'
import { type Engine, openEngine } from '../engine.ts'
import { statePaths } from '../paths.ts'
import { assetsFile, type TestFolder, testFolder } from '../testing/host.ts'
import { maxFrozen } from '../vm/qemu/disk-chain.ts'

const signal = new AbortController().signal
const spec = {
  image: 'python',
  vcpus: 1,
  mem_mib: 256,
  disk_mib: 512,
  idle_timeout: 0,
  env: { GREETING: 'hello' },
  auto_resume: false,
  on_idle: 'destroy',
} as const

let folder: TestFolder
let engine: Engine

beforeAll(async () => {
  folder = await testFolder()
  await giveTemplates(folder.stateDir)
  engine = await openEngine({ stateDir: folder.stateDir, assets: assetsFile, logLevel: 'silent', poolSize: 0 })
  await engine.create('a', 1, spec)
}, 90_000)
afterAll(async () => {
  await engine?.close()
  await keepTemplates(folder.stateDir)
  await folder?.remove()
})

async function shell(line: string): Promise<string> {
  const body = Buffer.from(JSON.stringify({ shell: line, timeout_ms: 60_000 }))
  const response = await engine.request('a', 1, { method: 'POST', path: '/exec', body, signal })
  const parts: Uint8Array[] = []
  for await (const bytes of response.body) parts.push(bytes)
  const told = JSON.parse(Buffer.concat(parts).toString('utf8')) as {
    exit_code: number
    stdout: string
    stderr: string
  }
  expect([told.exit_code, told.stderr]).toEqual([0, ''])
  return told.stdout.trim()
}

async function service(method: 'PUT' | 'POST', path: string, definition: object = {}): Promise<void> {
  const body = Buffer.from(JSON.stringify(definition))
  const response = await engine.request('a', 1, { method, path, body, signal })
  for await (const _ of response.body);
  expect(response.status).toBe(200)
}

/** Names, kinds, modes, owners and contents of all that was written. */
const tree = () =>
  shell(
    'cd / && find data etc/added etc/motd -printf "%p %y %m %U %T@ %l\\n" 2>/dev/null | sort; find data -type f | sort | xargs sha256sum',
  )

const keep = (checkpoint: string) =>
  engine.checkpoint('a', 1, { checkpoint, name: '', createdAt: '2026-01-01T00:00:00.000Z', wait: false })

it('puts back exactly the files of the moment, as often as asked, in a machine like any other', {
  timeout: 120_000,
}, async () => {
  await shell(
    'mkdir -p /data/deep; head -c 3000000 /dev/urandom > /data/big; echo one > /data/deep/f; ln -s f /data/deep/l; chmod 4750 /data/big; chown 1:2 /data/deep/f; echo x > /etc/added; rm -f /etc/motd',
  )
  for (const name of ['one', 'two'])
    await service('PUT', `/services/one?name=${name}`, { cmd: 'sleep', args: ['9999'] })
  await service('POST', '/services/start?name=one')
  const then = await tree()
  const first = await keep('cpone')
  expect(first.sizeBytes).toBeGreaterThan(3_000_000)
  expect(first.pauseMs).toBeGreaterThan(0)
  await service('POST', '/services/stop?name=one')
  await service('POST', '/services/start?name=two')
  await shell('rm -r /data/deep; echo changed > /data/big; mkdir /data/new; rm /etc/added')
  const later = await tree()
  const second = await keep('cptwo')
  expect(second.sizeBytes).toBeLessThan(first.sizeBytes)
  expect((await engine.waitForCheckpoint('a', 1, 'cpone')).sizeBytes).toBe(first.sizeBytes)
  const restored = await engine.restoreCheckpoint('a', 1, 'cpone')
  expect(restored).toMatchObject({ started: ['one'], stopped: ['two'], failed: [] })
  expect(await tree()).toBe(then)
  expect(await shell('echo $GREETING')).toBe('hello')
  await shell('echo lost > /data/lost')
  await engine.restoreCheckpoint('a', 1, 'cptwo')
  expect(await tree()).toBe(later)
  await engine.hibernate('a', 1)
  await engine.resume('a', 1)
  expect(await tree()).toBe(later)
})

it('keeps its checkpoints whole when the layers below are merged', { timeout: 120_000 }, async () => {
  const rounds = maxFrozen + 2
  for (let round = 0; round < rounds; round++) {
    await shell(`echo ${round} > /data/round`)
    await keep(`round${round}`)
  }
  const paths = statePaths(folder.stateDir)
  const [machine = ''] = await readdir(paths.vms)
  // The two that all share, its own, and one that grows.
  await expect
    .poll(async () => (await readdir(paths.vm(machine).layers)).length, { timeout: 20_000 })
    .toBeLessThan(rounds)
  await shell('echo last > /data/round')
  await engine.deleteCheckpoint('a', 1, 'round1')
  await engine.restoreCheckpoint('a', 1, 'round3')
  expect(await shell('cat /data/round')).toBe('3')
})
