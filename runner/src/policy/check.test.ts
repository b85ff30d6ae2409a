import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { checkConfig } from './check.ts'

let folder: string
let file: string
let printed: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-check-'))
  file = join(folder, 'portico.yaml')
  printed = ''
  const keep = (text: unknown) => {
    printed += String(text)
    return true
  }
  vi.spyOn(process.stdout, 'write').mockImplementation(keep)
  vi.spyOn(process.stderr, 'write').mockImplementation(keep)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true })
})

const check = (json = false) => checkConfig({ file, config: undefined, json })

it('says what a good policy allows', async () => {
  await writeFile(file, "image_allowlist: [python, app, 'docker.io/*']\ncustom_images: { app: ghcr.io/acme/app:1 }\n")
  expect(await check()).toBe(0)
  const allows = 'is good: allows python, app, docker.io/*; pulls on first use; 32 sandboxes at most\n'
  expect(printed).toBe(`${file} ${allows}`)
})

it('says all that is wrong, a line each', async () => {
  await writeFile(file, 'custom_images:\n  python: evil.example/python:3\nidle: 1\n')
  expect(await check()).toBe(1)
  const shadows = `${file}:2: custom_images may not shadow the preset python\n`
  expect(printed).toBe(`${shadows}${file}:3: there is no field idle\n`)
})

it.each([
  ['is not there', undefined, 'there is no file FILE'],
  ['is no JSON', 'auths: secret', 'FILE is no JSON'],
  ['is something else', '["secret"]', 'FILE is no containers-auth.json'],
])('says where credentials are named whose file %s, beside all else', async (_what, content, why) => {
  const auth = join(folder, 'auth.json')
  if (content !== undefined) await writeFile(auth, content)
  await writeFile(file, 'auto_install: true\nregistry_auth: auth.json\nidle: 1\n')
  expect(await check()).toBe(1)
  expect(printed).toBe(`${file}:2: registry_auth: ${why.replace('FILE', auth)}\n${file}:3: there is no field idle\n`)
  expect(printed).not.toContain('secret')
  printed = ''
  await writeFile(file, 'registry_auth: auth.json\n')
  expect(await check()).toBe(1)
  await writeFile(auth, '{"auths":{}}')
  expect(await check()).toBe(0)
})

it('says it to programs, too', async () => {
  expect(await check(true)).toBe(1)
  expect(JSON.parse(printed)).toEqual({ ok: false, file, complaints: [`${file}: there is no such file`] })
})
