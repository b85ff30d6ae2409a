import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HostImages } from '../policy/host-images.ts'
import { type SetUp, settle, setUp, spec } from '../testing/sandboxes.ts'
import { ContainerImages } from './images.ts'

const id = 'runaaaaaaaaaaaaaaaaaaaaaaaaaa'
let scene: SetUp
let asked: string[]
let images: ContainerImages

beforeEach(async () => {
  scene = await setUp()
  asked = []
  const host = new HostImages({ images: scene.driver.images, aliases: { 'node:20': 'node' } })
  images = new ContainerImages({
    images: scene.driver.images,
    bring: (image, signal) => host.bring(image, signal),
    request: (sandbox, generation, question) => {
      asked.push(`${question.method} ${question.path}`)
      return scene.registry.request(sandbox, generation, question)
    },
  })
  await settle(scene.clock, scene.registry.create(id, 1, spec))
})
afterEach(async () => {
  await settle(scene.clock, scene.registry.destroyAll('drain'))
  await scene.remove()
})

describe('an image for containers', () => {
  const path = `/images?digest=${encodeURIComponent('sha256:node')}`

  it('is brought into the sandbox once, whole, by any of its names', async () => {
    const node = { digest: 'sha256:node', env: { LANG: 'C.UTF-8' }, workdir: '/' }
    expect(await images.bring(id, 1, 'node:20')).toEqual(node)
    expect(await images.bring(id, 1, 'node')).toEqual(node)
    expect(asked).toEqual([`GET ${path}`, `PUT ${path}`, `GET ${path}`])
    const opened = await scene.driver.images.get('node')?.open()
    const parts: Uint8Array[] = []
    for await (const bytes of opened?.content ?? []) parts.push(bytes as Uint8Array)
    const expected = Buffer.concat(parts)
    expect(expected.length).toBe(300_000)
    expect(opened?.size).toBe(expected.length)
    expect(scene.machine(id).guest.images.get('sha256:node')?.equals(expected)).toBe(true)
  })

  it('is brought once for all who want it at the same time', async () => {
    await Promise.all([images.bring(id, 1, 'node'), images.bring(id, 1, 'node:20'), images.bring(id, 1, 'node')])
    expect(asked).toEqual([`GET ${path}`, `PUT ${path}`])
  })

  it('is asked for again when bringing it has failed', async () => {
    const { guest } = scene.machine(id)
    guest.noImages = true
    await expect(images.bring(id, 1, 'node')).rejects.toMatchObject({
      code: 'no_space',
      message: expect.stringContaining('the disk is full'),
    })
    guest.noImages = false
    await images.bring(id, 1, 'node')
    expect(asked.filter((one) => one.startsWith('PUT'))).toHaveLength(2)
  })

  it('must be one that there is', async () => {
    await expect(images.bring(id, 1, 'ruby')).rejects.toMatchObject({ code: 'image_unknown' })
    expect(asked).toEqual([])
  })
})
