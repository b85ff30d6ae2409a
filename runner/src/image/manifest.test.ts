import { expect, test } from 'vitest'
import { chooseFromIndex, digestOf, readConfig, readManifest } from './manifest.ts'

const one = digestOf('one')
const two = digestOf('two')
const what = 'registry.example/app:1'

test('of an index, the manifest for linux/amd64 is chosen', () => {
  const manifests = [
    { digest: one, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
    { digest: two, platform: { os: 'linux', architecture: 'amd64' } },
  ]
  expect(chooseFromIndex(JSON.stringify({ manifests }), what)).toBe(two)
  expect(chooseFromIndex(JSON.stringify({ layers: [] }), what)).toBeUndefined()
})

test('an index without it is refused, with what there is', () => {
  const manifests = ['arm64', 'arm64', 'unknown'].map((architecture) => ({
    digest: one,
    platform: { os: architecture === 'unknown' ? 'unknown' : 'linux', architecture },
  }))
  expect(() => chooseFromIndex(JSON.stringify({ manifests }), what)).toThrow(
    'cannot pull registry.example/app:1: there is none for linux/amd64, which this runner’s sandboxes are; there is linux/arm64'.replace(
      '’',
      "'",
    ),
  )
})

test.each([
  ['no JSON', 'nothing'],
  ['a manifest of the first schema', JSON.stringify({ schemaVersion: 1, fsLayers: [] })],
  ['what is no file system', manifestText({ config: 'application/vnd.cncf.helm.config.v1+json' })],
  ['layers that lie elsewhere', manifestText({ urls: ['http://127.0.0.1/secret'] })],
  ['a digest that is none', manifestText({ digest: 'sha256:../../etc' })],
  ['a negative size', manifestText({ size: -1 })],
])('%s is unsuitable', (_what, text) => {
  expect(() => readManifest(text, what)).toThrow(expect.objectContaining({ code: 'image_unsuitable' }))
})

test('the config is read as Docker reads it', () => {
  const config = {
    Env: ['PATH=/bin', 'A=b=c', 'EMPTY=', 'none', '=odd'],
    WorkingDir: '/srv',
    User: 'app:app',
    Entrypoint: 'single',
    Cmd: null,
  }
  expect(configOf({ config })).toMatchObject({
    image: {
      env: { PATH: '/bin', A: 'b=c', EMPTY: '' },
      workdir: '/srv',
      user: 'app:app',
      entrypoint: ['single'],
      cmd: [],
    },
  })
  expect(configOf({ config: null }).image).toEqual({ env: {}, workdir: '/', user: '', entrypoint: [], cmd: [] })
})

test('a config that is of another machine, has other layers, or was changed is unsuitable', () => {
  expect(() => configOf({ architecture: 'arm64' })).toThrow('there is linux/arm64')
  expect(() => configOf({ os: 'windows' })).toThrow('there is windows/amd64')
  expect(() => configOf({ rootfs: { diff_ids: [] } })).toThrow('differ in their layers')
  expect(() => configOf({ config: { Cmd: ['a\0b'] } })).toThrow('NUL')
  expect(() => configOf({ config: { Env: [`A=${'x'.repeat(70_000)}`] } })).toThrow('64 KiB')
  expect(() => readConfig('{}', readManifest(manifestText({}), what), what)).toThrow('digest')
})

function configOf(changed: object) {
  const text = JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { diff_ids: [one] }, ...changed })
  return readConfig(text, { layers: [{ digest: one, size: 1 }], configDigest: digestOf(text), bytes: 1 }, what)
}

function manifestText({
  config = 'application/vnd.oci.image.config.v1+json',
  digest = one,
  size = 1,
  urls,
}: {
  config?: string
  digest?: string
  size?: number
  urls?: string[]
}): string {
  return JSON.stringify({
    config: { mediaType: config, digest: one, size: 1 },
    layers: [{ digest, size, ...(urls ? { urls } : {}) }],
  })
}
