/** An engine with a policy: what its start, its status and its restart make of it. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Engine, openEngine } from '../engine.ts'
import { silentLog } from '../log.ts'
import { digestOf, FakeStore } from '../testing/fake-store.ts'
import { FakeDriver } from '../vm/fake/index.ts'

const alpine = 'docker.io/library/alpine:3.20'
const name = `docker.io/library/alpine@${digestOf('a')}`
const spec = {
  image: 'alpine:3.20',
  vcpus: 1,
  mem_mib: 128,
  disk_mib: 64,
  idle_timeout: 0,
  env: {},
  auto_resume: false,
  on_idle: 'destroy' as const,
}

let folder: string
let store: FakeStore
let driver: FakeDriver
let engine: Engine | undefined

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-policy-'))
  store = new FakeStore({ [alpine]: 'a' })
  driver = new FakeDriver({ folder })
})
afterEach(async () => {
  await engine?.close()
  await rm(folder, { recursive: true, force: true })
})

async function open(text: string, more: object = {}): Promise<Engine> {
  const policy = join(folder, 'portico.yaml')
  await writeFile(policy, text)
  const config = { stateDir: join(folder, 'state'), assets: '/nowhere', memoryMib: 1024, poolSize: 0, policy, ...more }
  engine = await openEngine(config, { driver, imageStore: store, log: silentLog() })
  return engine
}

it('does not start with a policy that is wrong, and says where', async () => {
  const opening = open('image_allowlist: [pyhton]\nauto_instal: true\n')
  await expect(opening).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringMatching(
      /portico\.yaml:1: pyhton is neither .*portico\.yaml:2: there is no field auto_instal/,
    ),
  })
})

it('tells what may be booted, and its policy', async () => {
  const { images, policy, freeSlots } = (await open("image_allowlist: [node, '*']")).status()
  expect(images).toEqual(['python', 'node'])
  expect(policy).toMatchObject({ max_concurrent_sandboxes: 32, catalog: [{ name: 'python' }, { name: 'node' }] })
  expect(freeSlots).toBe(32)
  await engine?.close()
  expect((await open('', { policy: undefined })).status().policy).toBeUndefined()
})

it('lets what exists go on under a policy that no longer allows its image', async () => {
  const first = await open("image_allowlist: ['*']")
  await first.create('a', 1, spec)
  await first.snapshot('a', 1, 's')
  await first.hibernate('a', 1)
  await first.close()
  store.registry.clear()
  const second = await open('image_allowlist: [python]')
  expect([...new Set(second.imagesInUse())]).toEqual([name])
  await second.resume('a', 1)
  const [machine] = driver.machines.values()
  expect(machine?.guest.identity).toMatchObject({ workdir: '/app', env: { FROM: 'image' } })
  expect(await second.fork('a', 1, [{ sandbox: 'b', generation: 1 }])).toMatchObject({ resolvedImage: name })
  expect(await second.restore('c', 1, 's', spec)).toMatchObject({ resolvedImage: name })
  await expect(second.create('d', 1, spec)).rejects.toMatchObject({ code: 'image_not_allowed' })
})

it('gives up what stands ready of an image that is removed', async () => {
  const host = await open("image_allowlist: ['*']", { poolSize: 1 })
  await host.create('a', 1, spec)
  while (host.status().warm[name] !== 1) await new Promise<void>((warm) => host.onWarm(warm))
  expect(host.status().ready).toEqual({ other: 1 })
  await host.destroy('a', 1)
  await host.images.remove(name)
  const { warm, ready } = host.status()
  expect([warm, ready]).toEqual([{}, {}])
})

it('refuses a create beyond max_concurrent_sandboxes before its image is pulled', async () => {
  const host = await open("image_allowlist: ['*']\nmax_concurrent_sandboxes: 1\n")
  await host.create('a', 1, { ...spec, image: 'python' })
  await expect(host.create('b', 1, spec)).rejects.toMatchObject({
    code: 'capacity',
    message: expect.stringContaining('max_concurrent_sandboxes (1) reached'),
  })
  expect(store.pulls).toEqual([])
})

it('no longer needs an image once nothing is made of it', async () => {
  const host = await open("image_allowlist: ['*']")
  await host.create('a', 1, spec)
  await host.snapshot('a', 1, 's')
  await host.destroy('a', 1)
  expect([...host.imagesInUse()]).toEqual([name])
  await host.deleteSnapshot('s')
  expect([...host.imagesInUse()]).toEqual([])
})
