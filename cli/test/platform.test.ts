/** Which platform the CLI talks to. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WireServer } from '@portico/sdk/test-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cli } from './process.ts'

let wire: WireServer
let home: string

beforeEach(async () => {
  wire = await WireServer.open()
  home = await mkdtemp(join(tmpdir(), 'cli-home-'))
})

afterEach(async () => {
  await wire.close()
  await rm(home, { recursive: true, force: true })
})

async function localPlatform(content: unknown): Promise<void> {
  await mkdir(join(home, 'local'), { recursive: true })
  const text = typeof content === 'string' ? content : JSON.stringify(content)
  await writeFile(join(home, 'local', 'connection.json'), text, { mode: 0o600 })
}

const images = (env: Record<string, string>, ...args: string[]) =>
  cli(['images', ...args], { PORTICO_HOME: home, ...env })
const found = { code: 0, stdout: 'node\npython\n', stderr: '' }

describe('the platform', () => {
  it('is what the command line says, before or after the command', async () => {
    const given = ['--url', wire.url, '--key', wire.apiKey]
    const elsewhere = { PORTICO_HOME: home, PORTICO_URL: 'http://127.0.0.1:9', PORTICO_API_KEY: 'k' }
    expect(await cli(['images', ...given], elsewhere)).toEqual(found)
    expect(await cli([...given, 'images'], elsewhere)).toEqual(found)
  })

  it('is what the environment says', async () => {
    await localPlatform({ url: 'http://127.0.0.1:9', apiKey: 'k' })
    expect(await images(wire.environment)).toEqual(found)
  })

  it('is else the one that runs on this machine', async () => {
    await localPlatform({ url: wire.url, apiKey: wire.apiKey, adminKey: 'a', stateDir: '/x' })
    expect(await images({})).toEqual(found)
    expect(await images({ PORTICO_URL: '', PORTICO_API_KEY: '' })).toEqual(found)
    expect(await images({ PORTICO_URL: `${wire.url}/` })).toEqual(found)
  })

  it('gets the local key only if it is the local one', async () => {
    await localPlatform({ url: 'http://127.0.0.1:9', apiKey: wire.apiKey })
    const ended = await images({ PORTICO_URL: wire.url })
    expect(ended).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/no API key is given for it\nhint: Set PORTICO_API_KEY/),
    })
    expect(wire.requests).toEqual([])
  })

  it('is missing where nothing says it: says how to get one', async () => {
    expect(await images({})).toEqual({
      code: 125,
      stdout: '',
      stderr:
        'portico: cannot find a platform: no URL and key are given\nhint: Start a platform on this machine with `portico up`, or set PORTICO_URL and PORTICO_API_KEY.\n',
    })
  })

  it('that runs no more is told as such', async () => {
    const { url } = wire
    await wire.close()
    await localPlatform({ url, apiKey: 'k' })
    const ended = await images({})
    expect(ended).toEqual({
      code: 125,
      stdout: '',
      stderr: `portico: cannot list the images: no answer from ${url}: connection refused\nhint: Start the local platform with \`portico up\`.\n`,
    })
    wire = await WireServer.open()
  })

  it.each(['', '[]', '{"url":7}', 'null'])('is not guessed from a file that holds %j', async (content) => {
    await localPlatform(content)
    expect(await images({})).toMatchObject({ code: 125, stderr: expect.stringMatching(/it holds no url and apiKey\n/) })
  })

  it('has an address that is one', async () => {
    const ended = await images({}, '--url', 'portico', '--key', 'k')
    expect(ended).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/^portico: cannot use the URL portico\nhint: /),
    })
  })
})

describe('the platform of the operator', () => {
  const accounts = (env: Record<string, string>, ...args: string[]) =>
    cli(['admin', 'accounts', '-q', ...args], { PORTICO_HOME: home, ...env })
  const none = { code: 0, stdout: '', stderr: '' }

  it('is what environment or command line say, with the admin key', async () => {
    expect(await accounts(wire.environment)).toEqual(none)
    expect(await accounts({ PORTICO_URL: wire.url, PORTICO_ADMIN_KEY: 'wrong' }, '--key', wire.admin.key)).toEqual(none)
  })

  it('is else the one that runs on this machine', async () => {
    await localPlatform({ url: wire.url, apiKey: 'k', adminKey: wire.admin.key })
    expect(await accounts({ PORTICO_API_KEY: 'k' })).toEqual(none)
  })

  it('gets no other key than the admin key', async () => {
    const keyless = await accounts({ PORTICO_URL: wire.url, PORTICO_API_KEY: wire.apiKey })
    expect(keyless).toEqual({
      code: 125,
      stdout: '',
      stderr: `portico: cannot use ${wire.url}: no admin key is given for it\nhint: Set PORTICO_ADMIN_KEY or pass --key.\n`,
    })
    await localPlatform({ url: wire.url, apiKey: wire.apiKey })
    expect(await accounts({})).toMatchObject({ code: 125, stderr: expect.stringMatching(/it holds no admin key\n/) })
    expect(wire.requests).toEqual([])
  })
})
