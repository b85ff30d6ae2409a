/** Sandboxes of images that come from a registry. */

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Policy } from '../policy/policy.ts'
import { readPolicy } from '../policy/read.ts'
import { digestOf, FakeStore } from '../testing/fake-store.ts'
import { nothingLeft, type SetUp, settle, setUp, spec } from '../testing/sandboxes.ts'

const alpine = 'docker.io/library/alpine:3.20'
const name = `docker.io/library/alpine@${digestOf('a')}`
const created = { ...spec, image: 'alpine:3.20' }

let store: FakeStore
let scene: SetUp

beforeEach(async () => {
  const read = readPolicy("image_allowlist: ['*']", { presets: ['python', 'node'], aliases: {} })
  store = new FakeStore({ [alpine]: 'a' })
  scene = await setUp({ store, policy: ('policy' in read ? read.policy : undefined) as Policy })
})
afterEach(async () => {
  await settle(scene.clock, scene.registry.destroyAll('drain'))
  await scene.remove()
})

const create = (id: string) => settle(scene.clock, scene.registry.create(id, 1, created))

it('resolve to a digest, and have what the image says of its programs', async () => {
  expect(await create('a')).toMatchObject({ resolvedImage: name })
  expect(scene.machine('a').guest.identity).toMatchObject({
    env: { FROM: 'image', A: 'b' },
    workdir: '/app',
    user: 'app',
    entrypoint: ['/run'],
    cmd: ['it'],
  })
  expect([...scene.registry.images()]).toEqual([name])
  expect(store.isHeld(name)).toBe(false)
})

it('sleep and wake with the same image, also when no policy allows it any more', async () => {
  await create('a')
  await settle(scene.clock, scene.registry.hibernate('a', 1))
  expect([...scene.registry.images()]).toEqual([name])
  store.registry.clear()
  await settle(scene.clock, scene.registry.resume('a', 1))
  expect(scene.machine('a').guest.identity).toMatchObject({ workdir: '/app' })
  const forked = await settle(scene.clock, scene.registry.fork('a', 1, [{ sandbox: 'b', generation: 1 }]))
  expect(forked).toMatchObject({ resolvedImage: name, children: [{ sandbox: 'b' }] })
  expect(scene.machine('b').guest.identity).toMatchObject({ workdir: '/app' })
})

it('leave nothing and may be asked for again where the image cannot be had', async () => {
  store.registry.clear()
  await expect(create('a')).rejects.toMatchObject({ code: 'image_missing' })
  expect(await scene.leftovers()).toEqual(nothingLeft)
  expect(scene.registry.list()).toEqual([])
  store.registry.set(alpine, 'a')
  expect(await create('a')).toMatchObject({ resolvedImage: name })
})

it('are refused before anything is pulled where there is no room for them', async () => {
  const places = [1, 2, 3, 4].map(() => scene.capacity.reserve({ memoryMib: 1, vcpus: 1 }))
  await expect(create('a')).rejects.toMatchObject({ code: 'capacity' })
  expect(store.pulls).toEqual([])
  for (const place of places) place.release()
  expect(await scene.leftovers()).toEqual(nothingLeft)
  expect(await create('a')).toMatchObject({ resolvedImage: name })
})

it('end their pull when they are destroyed while it is under way', async () => {
  store.gate = new Promise(() => undefined)
  const creating = scene.registry.create('a', 1, created)
  const failed = expect(creating).rejects.toMatchObject({ code: 'sandbox_not_running' })
  expect(scene.registry.list()).toEqual([{ sandbox: 'a', generation: 1, state: 'creating' }])
  await settle(scene.clock, scene.registry.destroy('a', 1))
  await failed
  expect(scene.states('a')).toEqual(['creating', 'destroying', 'destroyed'])
  expect(await scene.leftovers()).toEqual(nothingLeft)
})

it('answer a repeated create with the first one, whose pull goes on', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  store.gate = promise
  const both = [scene.registry.create('a', 1, created), scene.registry.create('a', 1, created)]
  resolve()
  const [one, other] = await settle(scene.clock, Promise.all(both))
  expect(other).toEqual(one)
  expect([store.pulls, scene.driver.machines.size]).toEqual([[alpine], 1])
})
