import { describe, expect, it } from 'vitest'
import { digestOf, FakeStore } from '../testing/fake-store.ts'
import { FakeDriver } from '../vm/fake/index.ts'
import { HostImages } from './host-images.ts'
import { readPolicy } from './read.ts'

const aliases = { 'python:3.12': 'python', ruby: 'no-such-preset' }
const reserved = { presets: ['python', 'node'], aliases }
const never = new AbortController().signal
const custom = 'ghcr.io/acme/app:latest'
const alpine = 'docker.io/library/alpine:3.20'

function policyOf(text: string) {
  const read = readPolicy(text, reserved)
  if (!('policy' in read)) throw new Error(JSON.stringify(read.problems))
  return read.policy
}

function setUp(text?: string) {
  const store = new FakeStore({ [custom]: 'a', [alpine]: 'b' })
  const policy = text === undefined ? undefined : policyOf(text)
  const { images } = new FakeDriver()
  return { store, host: new HostImages({ images, aliases, policy, store }) }
}

const admit =
  (text: string | undefined, image: string, vcpus = 1, mem_mib = 128) =>
  () =>
    setUp(text).host.admit({ image, vcpus, mem_mib })

const all = "image_allowlist: ['*']"
const own = 'image_allowlist: [python, app]\ncustom_images: { app: ghcr.io/acme/app:latest, other: alpine:3.20 }'

describe('the allowlist', () => {
  it.each([
    [undefined, 'python', 'python'],
    [undefined, 'python:3.12', 'python'],
    ['image_allowlist: [python]', 'python:3.12', 'python'],
    [all, 'node', 'node'],
    [own, 'app', custom],
    [all, 'alpine:3.20', alpine],
    ['image_allowlist: [alpine]\ncustom_images: { alpine: alpine:3.20 }', 'alpine', alpine],
    ["image_allowlist: ['docker.io/library/*']", 'alpine:3.20', alpine],
    ["image_allowlist: ['docker.io/library/alpine']", 'alpine:3.20', alpine],
    ["image_allowlist: ['alpine:3.*']", 'docker.io/library/alpine:3.20', alpine],
    ["image_allowlist: ['ghcr.io/acme/*']", `ghcr.io/acme/app@${digestOf('a')}`, `ghcr.io/acme/app@${digestOf('a')}`],
  ])('%s lets %s be booted as %s', (text, image, name) => {
    expect(admit(text, image)().name).toBe(name)
  })

  it.each([
    ['', 'python', 'image_not_allowed'],
    ['image_allowlist: [python]', 'node', 'image_not_allowed'],
    ['image_allowlist: [python]', 'perl', 'image_not_allowed'],
    [own, 'other', 'image_not_allowed'],
    // What a custom image leads to is not what a pattern is for.
    ["image_allowlist: ['ghcr.io/*']\ncustom_images: { app: ghcr.io/acme/app:1 }", 'app', 'image_not_allowed'],
    ["image_allowlist: ['docker.io/library/*']", 'docker.io/evil/library/x:1', 'image_not_allowed'],
    ["image_allowlist: ['ghcr.io/acme/*']", 'ghcr.io.evil.com/acme/x:1', 'image_not_allowed'],
    [all, 'No Image', 'image_unknown'],
    [undefined, 'alpine:3.20', 'image_unknown'],
    [undefined, 'ruby', 'image_unknown'],
  ])('%s refuses %s with %s', (text, image, code) => {
    expect(admit(text, image)).toThrow(expect.objectContaining({ code }))
  })

  it.each(['alpine', 'alpine:latest', 'ghcr.io/acme/app:stable'])(
    'lets nobody create from %s, which moves',
    (image) => {
      expect(admit(all, image)).toThrow(
        expect.objectContaining({ code: 'invalid_request', message: expect.stringContaining('its tag moves') }),
      )
    },
  )

  it('knows an image by its digest, too, once it came by a tag that is allowed', async () => {
    const { host } = setUp("image_allowlist: ['alpine:3.20']")
    const image = `docker.io/library/alpine@${digestOf('b')}`
    expect(() => host.admit({ image, vcpus: 1, mem_mib: 128 })).toThrow(/not on the allowlist/)
    await host.pull('alpine:3.20', { refresh: false, signal: never })
    expect(host.admit({ image, vcpus: 1, mem_mib: 128 }).name).toBe(image)
  })
})

describe('an image known by more than one name', () => {
  const digest = digestOf('a')
  const app = `ghcr.io/acme/app@${digest}`
  const boot =
    (host: HostImages, image: string, vcpus = 1) =>
    () =>
      host.admit({ image, vcpus, mem_mib: 128 })
  const pulled = async (text: string, ...names: string[]) => {
    const { host, store } = setUp(text)
    for (const name of names) await host.pull(name, { refresh: true, signal: never })
    return { host, store }
  }

  it('may be booted by its digest once it came by a custom name that is allowed, also when it was asked for by other names since', async () => {
    const { host, store } = await pulled(own, 'app')
    expect(boot(host, app)().name).toBe(app)
    expect(host.bootable()).toEqual(['python', 'python:3.12', 'app', app])
    store.registry.set(app, 'a')
    await host.pull(app, { refresh: true, signal: never })
    expect(boot(host, app)().name).toBe(app)
    expect(host.byName([[app, 1]])).toMatchObject({ app: 1 })
  })

  it('may not be booted by the digest of a custom image that is not allowed, nor by a tag that leads to it', async () => {
    const text = `image_allowlist: ['alpine:3.20']\ncustom_images: { other: ${custom} }`
    expect(boot((await pulled(text, alpine)).host, app)).toThrow(/not on the allowlist/)
    const tag = 'ghcr.io/acme/app:1.0'
    const { host, store } = setUp(own)
    store.registry.set(tag, 'a')
    await store.pull(tag)
    await host.pull('app', { refresh: true, signal: never })
    expect(boot(host, tag)).toThrow(/not on the allowlist/)
    await expect(host.pull(tag, { refresh: true, signal: never })).rejects.toMatchObject({ code: 'image_not_allowed' })
  })

  it.each(['ghcr.io/acme/app:1.*', 'ghcr.io/acme/app:*', 'ghcr.io/acme/app*:*', 'ghcr.io/acme/*:1.0*'])(
    'is not admitted by %s with a tag of the caller beside a digest',
    (entry) => {
      const text = `image_allowlist: ['${entry}']`
      expect(admit(text, 'ghcr.io/acme/app:1.0')().name).toBe('ghcr.io/acme/app:1.0')
      expect(admit(text, `ghcr.io/acme/app:1.0@${digest}`)).toThrow(/not on the allowlist/)
    },
  )

  it('is what its digest says where an entry has one, whatever tag stands beside it', () => {
    const text = `image_allowlist: ['ghcr.io/acme/app:1.0@${digest}']`
    for (const image of [app, `ghcr.io/acme/app:1.0@${digest}`]) expect(admit(text, image)().name).toBe(image)
    expect(admit(text, `ghcr.io/acme/app:1.0@${digestOf('b')}`)).toThrow(/not on the allowlist/)
  })

  it.each([
    ['its custom name', 'app', app],
    ['its custom name', 'app', `ghcr.io/acme/app:9@${digest}`],
    ['its tag', custom, app],
    ['its digest', app, 'app'],
    ['its repository', 'ghcr.io/acme/*', 'app'],
    ['the tag that is said beside a digest', 'ghcr.io/acme/app:9', `ghcr.io/acme/app:9@${digestOf('c')}`],
  ])('is capped by %s: %s for %s', async (_what, key, image) => {
    const text = `image_allowlist: ['*']\ncustom_images: { app: ${custom} }\nper_image_caps: { '${key}': { max_cpus: 1 } }`
    const { host } = await pulled(text, 'app')
    expect(boot(host, image, 2)).toThrow(expect.objectContaining({ code: 'image_cap_exceeded' }))
    expect(() => boot(host, image)()).not.toThrow()
    expect(() => boot(host, 'alpine:3.20', 2)()).not.toThrow()
  })
})

describe('caps', () => {
  const capped = `${own}\nper_image_caps: { python: { max_cpus: 2, max_memory_mb: 1024 }, app: { max_cpus: 1 } }`

  it.each([
    ['python', 9, 128, 'cpus=9 exceeds per-image cap 2'],
    ['python:3.12', 1, 2048, 'memory_mb=2048 exceeds per-image cap 1024'],
    ['app', 2, 128, 'cpus=2 exceeds per-image cap 1'],
  ])('of %s refuse %i CPUs and %i MiB', (image, vcpus, mem, why) => {
    const refusal = { code: 'image_cap_exceeded', message: expect.stringContaining(why) }
    expect(admit(capped, image, vcpus, mem)).toThrow(expect.objectContaining(refusal))
  })

  it('let through what they allow, and are asked only about what may be booted', () => {
    expect(admit(capped, 'python', 2, 1024)().name).toBe('python')
    const notAllowed = `image_allowlist: []\nper_image_caps: { python: { max_cpus: 1 } }`
    expect(admit(notAllowed, 'python', 9)).toThrow(/not on the allowlist/)
  })
})

describe('an image of a registry', () => {
  it('is pulled at the first use, held while it is needed, and found by its digest from then on', async () => {
    const { host, store } = setUp(own)
    const { bring } = host.admit({ image: 'app', vcpus: 1, mem_mib: 128 })
    const name = `ghcr.io/acme/app@${digestOf('a')}`
    {
      using brought = await bring?.(never)
      expect(brought?.name).toBe(name)
      expect(store.isHeld(name)).toBe(true)
    }
    expect(store.isHeld(name)).toBe(false)
    using again = await host.bring('app', never)
    expect([again.name, store.pulls]).toEqual([name, [custom]])
  })

  it('has to be there where nothing is installed by itself, after allowlist and caps', async () => {
    const { host } = setUp(`${own}\nauto_install: false\nper_image_caps: { app: { max_cpus: 1 } }`)
    const create = (vcpus: number) => host.admit({ image: 'app', vcpus, mem_mib: 128 })
    expect(() => create(2)).toThrow(expect.objectContaining({ code: 'image_cap_exceeded' }))
    expect(() => create(1)).toThrow(expect.objectContaining({ code: 'image_not_installed' }))
    await expect(host.bring('app', never)).rejects.toMatchObject({ code: 'image_not_installed' })
    // The operator's own pull is what installs it.
    await host.pull('app', { refresh: false, signal: never })
    expect(create(1).name).toBe(custom)
  })

  it('is only pulled where the policy allows it, by any tag', async () => {
    const pull = (text: string | undefined, name: string) =>
      setUp(text).host.pull(name, { refresh: true, signal: never })
    await expect(pull(undefined, alpine)).rejects.toMatchObject({ code: 'image_not_allowed' })
    await expect(pull(own, alpine)).rejects.toMatchObject({ code: 'image_not_allowed' })
    await expect(pull(all, 'python')).rejects.toMatchObject({ code: 'invalid_request' })
    await expect(pull(all, 'alpine:9')).rejects.toMatchObject({ code: 'image_missing' })
    expect((await pull(all, custom)).image.reference).toBe(custom)
  })

  it('that could not be pulled may have removed others, which is told', async () => {
    const { host } = setUp(all)
    let changes = 0
    host.onChange(() => changes++)
    await expect(host.pull('alpine:9', { refresh: false, signal: never })).rejects.toMatchObject({
      code: 'image_missing',
    })
    expect(changes).toBe(1)
  })

  it('is removed by any of its names, and once it is gone again', async () => {
    const { host, store } = setUp(own)
    await host.pull('app', { refresh: false, signal: never })
    const changes: string[] = []
    host.onChange(() => changes.push('changed'))
    await host.remove('app')
    await host.remove(custom)
    expect([store.list(), changes.length > 0]).toEqual([[], true])
  })
})

describe('what callers are told', () => {
  it('is what they may boot', async () => {
    const { host } = setUp(`image_allowlist: [python, app]\ncustom_images: { app: ${custom}, other: alpine:3.20 }`)
    expect(host.bootable()).toEqual(['python', 'python:3.12', 'app'])
    expect(setUp().host.bootable()).toEqual(['python', 'node', 'python:3.12'])
    const wide = setUp(all)
    await wide.host.pull(alpine, { refresh: false, signal: never })
    const name = `docker.io/library/alpine@${digestOf('b')}`
    expect(wide.host.bootable()).toEqual(['python', 'node', 'python:3.12', name, alpine])
    expect(wide.host.byName([['python', 2]])).toEqual({ python: 2, 'python:3.12': 2 })
    expect(wide.host.byName([[name, 1]])).toEqual({ [name]: 1, [alpine]: 1 })
    expect([wide.host.has('python'), wide.host.has(name), wide.host.has(alpine)]).toEqual([true, true, false])
  })

  it('counts each image once by a name of the operator, where figures are kept', async () => {
    const { host } = setUp(own)
    await host.pull('app', { refresh: false, signal: never })
    const app = `ghcr.io/acme/app@${digestOf('a')}`
    const counts = [
      ['python', 2],
      [app, 3],
      ['gone@1', 1],
      ['gone@2', 1],
    ] as const
    expect(host.byOwnName(counts)).toEqual({ python: 2, app: 3, other: 2 })
  })

  it('is the policy with its catalog, where there is one', () => {
    expect(setUp().host.told).toBeUndefined()
    expect(setUp(own).host.told).toEqual({
      default_cpus: 1,
      default_memory_mb: 512,
      default_idle_timeout_secs: 300,
      max_concurrent_sandboxes: 32,
      catalog: [
        { name: 'python', oci_ref: 'python', kind: 'preset' },
        { name: 'app', oci_ref: custom, kind: 'custom' },
      ],
    })
  })
})
