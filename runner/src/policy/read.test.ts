import { expect, it } from 'vitest'
import type { Policy, Reserved } from './policy.ts'
import { readPolicy } from './read.ts'

const reserved: Reserved = { presets: ['python', 'node'], aliases: { 'node:22': 'node' } }

function policyOf(text: string): Policy {
  const read = readPolicy(text, reserved)
  if (!('policy' in read)) throw new Error(JSON.stringify(read.problems))
  return read.policy
}

const complaints = (text: string) =>
  readPolicy(text, reserved).problems.map(({ line, message }) => `${line}: ${message}`)

it('has the defaults that iii documents, and allows nothing that is not listed', () => {
  expect(policyOf('')).toEqual({
    auto_install: true,
    image_allowlist: [],
    default_idle_timeout_secs: 300,
    max_concurrent_sandboxes: 32,
    default_cpus: 1,
    default_memory_mb: 512,
    per_image_caps: {},
    custom_images: {},
    image_cache_gb: 20,
    insecure_registries: [],
  })
  expect(policyOf('# nothing but this\n')).toEqual(policyOf(''))
})

it("is iii's whole form, too, among other workers", () => {
  const text = `workers:
  - name: iii-http
    config: { port: 1 }
  - name: iii-sandbox
    config:
      auto_install: false
      image_allowlist: [python, my-app]
      custom_images:
        my-app: ghcr.io/acme/my-app:1.2.3
      per_image_caps:
        python: { max_cpus: 2, max_memory_mb: 2048 }
`
  expect(policyOf(text)).toMatchObject({
    auto_install: false,
    image_allowlist: ['python', 'my-app'],
    custom_images: { 'my-app': 'ghcr.io/acme/my-app:1.2.3' },
    per_image_caps: { python: { max_cpus: 2, max_memory_mb: 2048 } },
  })
  expect(policyOf('workers:\n  - name: iii-sandbox\n')).toEqual(policyOf(''))
})

it.each(['*', 'docker.io/library/*', 'ghcr.io/acme/app', 'alpine:3.*', 'node:22'])(
  'takes %s on the allowlist',
  (entry) => {
    expect(policyOf(`image_allowlist: ['${entry}']`).image_allowlist).toEqual([entry])
  },
)

it('tells all that is wrong, each with its line', () => {
  const text = `auto_install: maybe
image_allowlist:
  - python
  - pyhton
idleTimeout: 3
Default_Cpus: 2
custom_images:
  node: docker.io/library/node:22
  my-app: "not a reference"
per_image_caps:
  python:
    max_cpus: 0
    max_disk: 5
  ruby: {}
`
  expect(complaints(text)).toEqual([
    expect.stringMatching(/^1: auto_install: .*boolean/),
    expect.stringMatching(/^4: pyhton is neither a preset \(python, node\), nor a key of custom_images, nor a pattern/),
    '5: there is no field idleTimeout',
    '6: there is no field Default_Cpus; the field is default_cpus',
    '8: custom_images may not shadow the preset node',
    '9: my-app: "not a reference" is no image reference',
    expect.stringMatching(/^12: per_image_caps\.python\.max_cpus: /),
    '13: per_image_caps.python: there is no field max_disk',
  ])
})

it.each([
  ['an alias of a preset', "custom_images: { 'node': x }", /may not shadow the preset node/],
  ['caps of what nobody can boot', 'per_image_caps: { ruby: { max_cpus: 1 } }', /^1: ruby is neither/],
  ['a field twice', 'default_cpus: 1\ndefault_cpus: 2\n', /^2: .*unique/],
  ['what is no YAML', 'image_allowlist: [python\n', /^\d+: /],
  ['a list', '- python\n', /^1: it must be a map/],
  ['a form without the sandbox worker', 'workers:\n  - name: other\n', /^2: no worker is named iii-sandbox/],
  [
    'fields beside workers',
    'workers:\n  - name: iii-sandbox\nauto_install: true\n',
    /^3: there is no field auto_install beside/,
  ],
  ['a number that is none', 'default_memory_mb: lots\n', /^1: default_memory_mb: /],
])('refuses %s', (_what, text, complaint) => {
  expect(complaints(text)).toEqual([expect.stringMatching(complaint)])
})
