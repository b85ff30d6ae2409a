import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { daemonConfig, engineConfig, loadConfig } from './config.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'portico-config-'))
})
afterEach(() => rm(folder, { recursive: true }))

const good = { edgeUrl: 'ws://127.0.0.1:1/v1/runner/tunnel', token: 'secret-token' }

async function file(content: unknown): Promise<string> {
  const path = join(folder, 'runner.json')
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

it('fills in what is not said and cannot be changed', async () => {
  const config = await loadConfig(daemonConfig, await file(good), { PORTICO_HOME: '/var/x' })
  expect(config).toMatchObject({
    accelerator: 'auto',
    vmUser: 'separate',
    imageAliases: {},
    stateDir: '/var/x/runner',
    assets: '/var/x/cache/assets.json',
  })
  expect(config.memoryMib).toBeGreaterThan(0)
  expect(Object.isFrozen(config)).toBe(true)
})

it('lets the environment override the file', async () => {
  const config = await loadConfig(daemonConfig, await file({ ...good, accelerator: 'kvm', maxSandboxes: 5 }), {
    PORTICO_ACCELERATOR: 'tcg',
    PORTICO_MAX_SANDBOXES: '7',
    PORTICO_IMAGE_ALIASES: '{"node:22":"node"}',
    PORTICO_LOG_LEVEL: '',
  })
  expect(config).toMatchObject({
    accelerator: 'tcg',
    maxSandboxes: 7,
    imageAliases: { 'node:22': 'node' },
    logLevel: 'info',
  })
})

it('needs an edge for a daemon and none for an engine', async () => {
  await expect(loadConfig(daemonConfig, undefined, {})).rejects.toThrow(/edgeUrl: .*token: /)
  await loadConfig(engineConfig, undefined, {})
})

it.each([
  ['edgeUrl', { edgeUrl: 'http://example.com' }],
  ['stateDir', { stateDir: 'relative/folder' }],
  ['accelerator', { accelerator: 'xen' }],
  ['maxSandboxes', { maxSandboxes: 0 }],
  ['maxVcpus', { maxVcpus: 0 }],
  ['tunnelSockets', { tunnelSockets: 9 }],
])('names the field that is wrong: %s', async (field, wrong) => {
  await expect(loadConfig(daemonConfig, await file({ ...good, ...wrong }), {})).rejects.toThrow(
    `cannot use the configuration: ${field}: `,
  )
})

it('never shows the token', async () => {
  const error = await loadConfig(daemonConfig, await file({ ...good, edgeUrl: 1 }), {}).catch((thrown: Error) => thrown)
  expect(JSON.stringify(error) + String(error)).not.toContain('secret-token')
})

it('says what is wrong with the file', async () => {
  await expect(loadConfig(daemonConfig, join(folder, 'none.json'), {})).rejects.toThrow('missing or not readable')
  await expect(loadConfig(daemonConfig, await file('{'), {})).rejects.toThrow('it is not JSON')
  await expect(loadConfig(daemonConfig, await file('[]'), {})).rejects.toThrow('one JSON object')
  await expect(loadConfig(daemonConfig, await file(good), { PORTICO_VCPUS: 'two' })).rejects.toThrow('PORTICO_VCPUS')
})
