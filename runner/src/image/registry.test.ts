/** The store against a real registry, with the real programs. */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  alpineImage,
  type HostileKind,
  hostileImage,
  imageOf,
  layerOf,
  oddImage,
} from '../../../tests/kit/oci-images/index.ts'
import { Registry } from '../../../tests/kit/registry.ts'
import { silentLog } from '../log.ts'
import { ImageStore, type ImageStoreOptions, type PullStep } from './store.ts'

const execute = promisify(execFile)
const login = { user: 'reader', password: 'of the registry' }
/** The first run on a host fetches and makes what the images are of. */
const timeout = 120_000
let registry: Registry
let folder: string
const stores: ImageStore[] = []

beforeAll(async () => {
  registry = await Registry.start()
}, timeout)
afterAll(async () => await registry[Symbol.asyncDispose]())
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-images-'))
})
afterEach(async () => {
  registry.throttle(undefined)
  registry.fail(undefined)
  for (const store of stores.splice(0)) await store.close()
  await rm(folder, { recursive: true, force: true })
})

describe('a pull', { timeout }, () => {
  it('makes an image that can be booted, tells how far it is, and asks nobody the second time', async () => {
    const store = await open()
    const settings = {
      env: ['PATH=/bin', 'OWN=yes'],
      workdir: '/srv',
      user: 'app',
      entrypoint: ['/bin/sh', '-c'],
      cmd: ['true'],
    }
    const image = await alpineImage(settings)
    const reference = await registry.push(image, 'library/alpine:3.20')
    const steps: PullStep[] = []
    const { image: pulled, tookMs } = await store.pull(reference, { onProgress: (step) => steps.push(step) })
    const name = `${registry.host}/library/alpine@${image.manifest.digest}`
    const config = { ...settings, env: { PATH: '/bin', OWN: 'yes' } }
    expect(pulled).toMatchObject({ name, reference, digest: image.manifest.digest, config })
    expect([...new Set(steps.map(({ phase }) => phase))]).toEqual(['resolve', 'pull', 'unpack', 'erofs'])
    expect(Object.keys(tookMs)).toEqual(['resolve', 'pull', 'unpack', 'erofs'])
    expect(steps.filter(({ phase }) => phase === 'pull').at(-1)?.doneBytes).toBeGreaterThan(6e6)
    const whole = createHash('sha256')
      .update(await readFile(pulled.erofs))
      .digest('hex')
    expect(pulled.fileDigest).toBe(`sha256:${whole}`)
    const root = await extracted(pulled.erofs)
    expect((await execute('ls', [root])).stdout).toContain('proc\n')
    const reads = registry.reads()
    expect(await store.pull(name)).toMatchObject({ image: { name }, tookMs: {} })
    expect(await store.pull(reference)).toMatchObject({ image: { name }, tookMs: {} })
    expect(registry.reads()).toEqual(reads)
    expect(await store.pull(reference, { refresh: true })).toMatchObject({
      image: { name },
      tookMs: { resolve: expect.any(Number) },
    })
    expect(registry.reads().get(image.layers[0]?.digest ?? '')).toBe(1)
  })

  it('chooses linux/amd64 of an index, and is found by the digests of both', async () => {
    const store = await open()
    const image = await small('of an index')
    const other = imageOf(image.layers, { architecture: 'arm64' })
    const reference = await registry.pushIndex({ 'linux/arm64': other, 'linux/amd64': image }, 'several:1')
    expect((await store.pull(reference)).image.digest).toBe(image.manifest.digest)
    const lacking = await registry.pushIndex({ 'linux/arm64': other, 'linux/s390x': other }, 'several:2')
    await expect(store.pull(lacking)).rejects.toMatchObject({
      code: 'image_unsuitable',
      message: expect.stringContaining('there is linux/arm64, linux/s390x'),
    })
  })

  it('of two callers is one, and goes on when one of them leaves', async () => {
    const store = await open()
    const image = await small('for two')
    const reference = await registry.push(image, 'shared:1')
    const leaving = new AbortController()
    const one = store.pull(reference, { signal: leaving.signal })
    one.catch(() => undefined)
    const two = store.pull(reference)
    const begun = registry.reading()
    await begun
    leaving.abort(new Error('enough'))
    await expect(one).rejects.toThrow('enough')
    expect((await two).image.digest).toBe(image.manifest.digest)
    expect(registry.reads().get(image.layers[0]?.digest ?? '')).toBe(1)
  })

  it('that its last caller leaves ends and leaves nothing', async () => {
    const store = await open()
    const reference = await registry.push(await alpineImage(), 'left:1')
    registry.throttle(100_000)
    const leaving = new AbortController()
    const pull = store.pull(reference, { signal: leaving.signal })
    await registry.reading()
    leaving.abort(new Error('enough'))
    await expect(pull).rejects.toThrow('enough')
    expect(await files()).toEqual(['images', 'rootfs'])
    expect(store.figures()).toMatchObject({ images: 0, pullsUnderWay: 0, pullsFailed: 0 })
  })

  it('of the same layers with another config fetches nothing and shares the file', async () => {
    const store = await open()
    const layer = await layerOf([{ path: 'same', content: 'layers\n' }])
    const one = await store.pull(await registry.push(imageOf([layer], { workdir: '/one' }), 'same:1'))
    const two = await store.pull(await registry.push(imageOf([layer], { workdir: '/two' }), 'same:2'))
    expect(two.image.erofs).toBe(one.image.erofs)
    expect([one.image.config.workdir, two.image.config.workdir]).toEqual(['/one', '/two'])
    expect(registry.reads().get(layer.digest)).toBe(1)
    expect(Object.keys(two.tookMs)).toEqual(['resolve'])
  })
})

describe('layers', { timeout }, () => {
  it('keep links, labels, owners, names; what a layer takes away is gone', async () => {
    const store = await open()
    const { image } = await store.pull(await registry.push(await oddImage(), 'odd:1'))
    const root = await extracted(image.erofs)
    const text = async (path: string) => await readFile(join(root, path), 'utf8')
    expect((await readdir(root)).sort()).toEqual(
      [
        'also-kept',
        'became-folder',
        'device',
        'kept',
        'labelled',
        'n'.repeat(200),
        'opaque',
        'owned',
        'pipe',
        'real',
        'setuid',
        'sticky',
        'via-link',
        'with\nnewline',
        'with space',
        'ünï',
      ].sort(),
    )
    expect(await readdir(join(root, 'opaque'))).toEqual(['new'])
    expect(await text('became-folder/in')).toBe('in\n')
    expect(await text('real/file')).toBe('through the link\n')
    expect(await dumped(image.erofs, 'kept')).toMatch(/Links: 2 /)
    expect(numberOf(await dumped(image.erofs, 'kept'))).toBe(numberOf(await dumped(image.erofs, 'also-kept')))
    if (process.getuid?.() !== 0) return
    expect(await dumped(image.erofs, 'owned')).toMatch(/Uid: 1234 +Gid: 5678/)
    expect(await dumped(image.erofs, 'labelled')).toMatch(/Xattr size: [1-9]/)
    expect((await execute('stat', ['-c', '%F', join(root, 'device')])).stdout).toBe('character special file\n')
  })
})

describe('what is hostile or broken', { timeout }, () => {
  it('is refused, each for its reason, and leaves nothing', async () => {
    const store = await open({ imageLimitBytes: 32 << 20 })
    const reasons: Partial<Record<HostileKind, string>> = {
      escape: 'leads out of its root',
      'broken-gzip': 'does not decompress',
      'wrong-layer': 'not the one that its config names',
      'wrong-digest': 'does not have the digest',
      'wrong-architecture': 'there is linux/arm64',
      bomb: 'limit of an image',
    }
    const refused = Object.entries(reasons).map(async ([kind, why]) => {
      const reference = await registry.push(await hostileImage(kind as HostileKind), `hostile/${kind}:1`)
      const message = expect.stringContaining(why)
      await expect(store.pull(reference), kind).rejects.toMatchObject({ code: 'image_unsuitable', message })
    })
    await Promise.all(refused)
    expect(await files()).toEqual(['images', 'rootfs'])
  })

  it('a link that leads out is followed inside the root alone', async () => {
    const store = await open()
    const { image } = await store.pull(await registry.push(await hostileImage('link-escape'), 'hostile/link:1'))
    const root = await extracted(image.erofs)
    expect((await readdir(join(root, 'tmp'))).sort()).toEqual(['portico-climbed', 'portico-outside'])
    await expect(readFile('/tmp/portico-outside')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(readFile('/tmp/portico-climbed')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('a registry', { timeout }, () => {
  it('that does not have it, fails, speaks HTTP unasked or is not there: each has its error', async () => {
    const store = await open()
    const wary = await open({ insecureRegistries: [] })
    await expect(store.pull(`${registry.host}/none:1`)).rejects.toMatchObject({ code: 'image_missing' })
    await expect(wary.pull(`${registry.host}/none:1`)).rejects.toMatchObject({
      code: 'image_pull_failed',
      message: expect.stringContaining('insecure_registries'),
    })
    await expect(store.pull('127.0.0.1:9/none:1')).rejects.toMatchObject({
      code: 'image_pull_failed',
      message: expect.stringContaining('refuses'),
    })
    registry.fail(503)
    await expect(store.pull(`${registry.host}/none:1`)).rejects.toMatchObject({ code: 'image_pull_failed' })
    expect(store.figures()).toMatchObject({ pullsFailed: 3 })
  })

  it('with a login gives images to those who have it', async () => {
    await using closed = await Registry.start({ login })
    const image = await small('behind a login')
    const reference = await closed.push(image, 'private:1')
    const insecureRegistries = [closed.host]
    const stranger = await open({ insecureRegistries })
    const friend = await open({ insecureRegistries, authFile: await closed.authFile() })
    await expect(stranger.pull(reference)).rejects.toMatchObject({ code: 'image_denied' })
    expect((await friend.pull(reference)).image.digest).toBe(image.manifest.digest)
  })
})

describe('room', { timeout }, () => {
  it('is made by removing what was used least recently, and refused when all is in use', async () => {
    const store = await open({ cacheLimitBytes: 6000 })
    const pull = async (text: string) =>
      (await store.pull(await registry.push(await small(text), `room/${text}:1`))).image
    const one = await pull('one')
    const two = await pull('two')
    expect(store.list().map(({ name }) => name)).toEqual([two.name])
    expect(store.figures()).toMatchObject({ images: 1, bytes: 4096, evicted: 1 })
    expect(store.get(one.name)).toBeUndefined()
    using _held = store.hold(two.name)
    await expect(pull('three')).rejects.toMatchObject({ code: 'image_no_space' })
    expect(store.list().map(({ name }) => name)).toEqual([two.name])
  })
})

async function open(changed: Partial<ImageStoreOptions> = {}): Promise<ImageStore> {
  const store = await ImageStore.open({
    folder: join(folder, 'store'),
    cacheLimitBytes: 1e9,
    insecureRegistries: [registry.host],
    log: silentLog(),
    inUse: () => [],
    ...changed,
  })
  stores.push(store)
  return store
}

async function small(text: string) {
  return imageOf([await layerOf([{ path: 'file', content: `${text}\n` }])])
}

async function files(): Promise<string[]> {
  return (await readdir(join(folder, 'store'), { recursive: true })).sort()
}

async function extracted(erofs: string): Promise<string> {
  const root = join(folder, 'root')
  await execute('fsck.erofs', [`--extract=${root}`, '--overwrite', erofs])
  return root
}

async function dumped(erofs: string, path: string): Promise<string> {
  return (await execute('dump.erofs', [`--path=/${path}`, erofs])).stdout
}

function numberOf(dump: string): string | undefined {
  return /NID: (\d+)/.exec(dump)?.[1]
}
