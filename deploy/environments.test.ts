/** Each environment of `wrangler.toml` builds the Worker that would be deployed, and binds what `edge/src/env.ts` says that the code reads. Nothing leaves the machine. */

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { paths, root } from './checkout.ts'

const run = promisify(execFile)

interface Environment {
  readonly routes?: readonly { pattern: string; custom_domain?: boolean; zone_name?: string }[]
  readonly vars: Readonly<Record<string, string>>
  readonly secrets?: { readonly required: readonly string[] }
  readonly durable_objects: { readonly bindings: readonly { name: string; class_name: string }[] }
  readonly migrations: readonly { tag: string; new_sqlite_classes?: readonly string[] }[]
}
type Configuration = Environment & { readonly env: Readonly<Record<string, Environment>> }

const configuration = parse(await readFile(paths.wranglerToml, 'utf8')) as unknown as Configuration
const environments = Object.entries(configuration.env)
/** What a field is, by its type. */
const kinds: Readonly<Record<string, 'object' | 'files'>> = { DurableObjectNamespace: 'object', Fetcher: 'files' }
const needed = await fieldsOfEnv()
/** A deployment may do without these. */
const optionalSecrets = ['PORTICO_SECRET_PREVIOUS', 'OTEL_EXPORTER_OTLP_HEADERS']

let directory = ''
beforeAll(async () => {
  await mkdir(paths.temporary, { recursive: true })
  directory = await mkdtemp(join(paths.temporary, 'wrangler-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe.each([
  ['the top level', '', configuration] as const,
  ...environments.map(([name, one]) => [name, name, one] as const),
])('%s', (_, name, environment) => {
  test('builds', async () => {
    const bound = await build(name)
    for (const { name: field, kind } of needed) if (kind !== 'text') expect(bound).toContain(`env.${field}`)
    for (const variable of Object.keys(environment.vars)) expect(bound).toContain(`env.${variable} (`)
  }, 60_000)

  test('makes every object that it binds, with SQLite', () => {
    const bindings = environment.durable_objects.bindings
    const objects = needed.filter(({ kind }) => kind === 'object').map((field) => field.name)
    expect(bindings.map((binding) => binding.name).sort()).toEqual(objects.sort())
    const made = environment.migrations.flatMap((migration) => migration.new_sqlite_classes ?? [])
    expect(made.sort()).toEqual(bindings.map((binding) => binding.class_name).sort())
  })

  test('has no variable that nothing reads', () => {
    const known = needed.filter(({ kind }) => kind === 'text').map((field) => field.name)
    expect(Object.keys(environment.vars).filter((variable) => !known.includes(variable))).toEqual([])
  })
})

describe.each(environments)('the deployed environment %s', (_, environment) => {
  test('has each variable or asks for it as a secret', () => {
    const told = [...Object.keys(environment.vars), ...(environment.secrets?.required ?? []), ...optionalSecrets]
    const texts = needed.filter(({ kind }) => kind === 'text').map((field) => field.name)
    expect(texts.filter((field) => !told.includes(field))).toEqual([])
  })

  test('keeps secrets out of the file', () => {
    const secrets = [...(environment.secrets?.required ?? []), ...optionalSecrets]
    expect(secrets).toEqual(expect.arrayContaining(['PORTICO_SECRET', 'ADMIN_KEY']))
    expect(Object.keys(environment.vars).filter((variable) => secrets.includes(variable))).toEqual([])
  })

  test('has the global host, one for each region, and the two wildcards; a wildcard only in front, as elsewhere it matches nothing', () => {
    const patterns = environment.routes?.map((route) => route.pattern) ?? []
    const domain = patterns.find((pattern) => pattern.startsWith('api.'))?.slice('api.'.length)
    const regions = (environment.vars.REGIONS_SERVED ?? '').split(',')
    const hosts = ['api', ...regions.map((region) => `run-${region}`)].map((host) => `${host}.${domain}`)
    expect([...patterns].sort()).toEqual([...hosts, `*.app.${domain}/*`, `*.sandbox.${domain}/*`].sort())
    for (const { pattern, custom_domain, zone_name } of environment.routes ?? []) {
      expect(custom_domain ?? false).toBe(!pattern.includes('*'))
      if (pattern.includes('*')) expect(`.${domain}`).toContain(`.${zone_name}`)
    }
  })

  test('has no storage in common with another', () => {
    expect(environment.durable_objects.bindings.filter((binding) => 'script_name' in binding)).toEqual([])
  })
})

/** What `wrangler deploy` says that the Worker has access to; the bundle is there afterwards. */
async function build(environment: string): Promise<string> {
  const wrangler = createRequire(import.meta.url).resolve('wrangler/package.json')
  const output = join(directory, environment || 'top')
  const args = ['deploy', '--dry-run', '--config', paths.wranglerToml, '--env', environment, '--outdir', output]
  const { stdout } = await run(process.execPath, [join(dirname(wrangler), 'bin', 'wrangler.js'), ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: directory, CI: '1', WRANGLER_SEND_METRICS: 'false', NO_COLOR: '1' },
  })
  expect(await readdir(output)).toContain('worker.js')
  return stdout
}

/** The fields of `Env`, read off its source. */
async function fieldsOfEnv(): Promise<{ name: string; kind: 'object' | 'files' | 'text' }[]> {
  const source = await readFile(join(root, 'edge', 'src', 'env.ts'), 'utf8')
  const body = /export interface Env \{\n(.*?)\n\}/s.exec(source)?.[1] ?? ''
  const fields = [...body.matchAll(/^ {2}readonly (\w+)\??: (\w+)/gm)]
  return fields.map(([, name = '', type]) => ({ name, kind: kinds[type ?? ''] ?? 'text' }))
}
