import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WireServer } from '../test/wire-server.ts'
import { AuthenticationError, Portico, ValidationError } from './index.ts'

let wire: WireServer
let portico: Portico

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
})

afterEach(async () => {
  await portico.close()
  await wire.close()
  vi.unstubAllEnvs()
})

describe('finding the platform', () => {
  it('takes URL and key from the environment', async () => {
    for (const [name, value] of Object.entries(wire.environment)) vi.stubEnv(name, value)
    await using fromEnvironment = new Portico()
    expect(fromEnvironment.baseUrl).toBe(wire.url)
    expect(await fromEnvironment.images()).toEqual(['node', 'python'])
  })

  it('prefers what it is told to the environment', () => {
    vi.stubEnv('PORTICO_URL', 'http://elsewhere.example')
    expect(new Portico({ baseUrl: wire.url, apiKey: 'k' }).baseUrl).toBe(wire.url)
  })

  it('says to set PORTICO_URL where there is no URL', () => {
    vi.stubEnv('PORTICO_URL', '')
    const make = () => new Portico({ apiKey: 'k' })
    expect(make).toThrow(ValidationError)
    expect(make).toThrow(expect.objectContaining({ hint: expect.stringContaining('PORTICO_URL') }))
  })

  it('says to set PORTICO_API_KEY where there is no key', () => {
    vi.stubEnv('PORTICO_API_KEY', '')
    const make = () => new Portico({ baseUrl: wire.url })
    expect(make).toThrow(AuthenticationError)
    expect(make).toThrow(expect.objectContaining({ hint: expect.stringContaining('PORTICO_API_KEY') }))
  })

  it('keeps a path of the URL and drops slashes at its end', async () => {
    expect(new Portico({ baseUrl: 'https://p.example/base//', apiKey: 'k' }).baseUrl).toBe('https://p.example/base')
  })

  it.each([
    'portico',
    'localhost:8787',
    'ftp://p.example',
    'http://',
    'http://me:secret@p.example',
    'http://p.example/?a=1',
  ])('refuses %s as a URL', (baseUrl) => {
    expect(() => new Portico({ baseUrl, apiKey: 'k' })).toThrow(ValidationError)
  })

  it.each(['', ' secret1', 'sec\nret2', 'schlüssel'])('refuses %j as a key without showing it', (apiKey) => {
    const make = () => new Portico({ baseUrl: wire.url, apiKey })
    expect(make).toThrow(AuthenticationError)
    if (apiKey !== '') expect(make).not.toThrow(apiKey)
  })
})

describe('create', () => {
  it('sends the options by their names on the wire and nothing that was left out', async () => {
    await portico.create({ image: 'python', vcpus: 2, memMiB: 512, diskMiB: 1024, timeoutSec: 60, env: { A: 'b' } })
    const body: unknown = JSON.parse(wire.requests[0]?.body.toString() ?? '')
    expect(body).toEqual({ image: 'python', vcpus: 2, mem_mib: 512, disk_mib: 1024, timeout: 60, env: { A: 'b' } })
    await portico.create()
    expect(wire.requests[1]?.body.toString()).toBe('{}')
  })

  it('answers with the record', async () => {
    const sandbox = await portico.create({ image: 'python:3.12-slim', memMiB: 256 })
    expect({ ...sandbox }).toEqual({
      id: expect.stringMatching(/^run[a-z2-7]{26}$/),
      status: 'running',
      reason: undefined,
      name: undefined,
      labels: {},
      image: 'python:3.12-slim',
      resolvedImage: 'python',
      region: 'local',
      vcpus: 1,
      memMiB: 256,
      diskMiB: 4096,
      timeoutSec: 300,
      autoResume: false,
      onIdle: 'destroy',
      createMs: 12,
      createdAt: expect.any(Date),
      forkedFrom: undefined,
      restoredFrom: undefined,
    })
  })

  it('refuses an option that it does not know, as it might be a policy', async () => {
    const slip = { image: 'python', networkProfil: 'locked-down' }
    await expect(portico.create(slip)).rejects.toThrow(/networkProfil/)
    expect(wire.requests).toEqual([])
  })

  it('says what happens when nobody uses the sandbox, and what wakes it', async () => {
    const sandbox = await portico.create({ autoResume: true, onIdle: 'hibernate' })
    const body: unknown = JSON.parse(wire.requests[0]?.body.toString() ?? '')
    expect(body).toEqual({ auto_resume: true, on_idle: 'hibernate' })
    expect(sandbox).toMatchObject({ autoResume: true, onIdle: 'hibernate' })
  })

  it('passes a network policy on for the platform to judge', async () => {
    await portico.create({ network: { deny: ['*'] }, networkProfile: 'locked-down' })
    const body: unknown = JSON.parse(wire.requests[0]?.body.toString() ?? '')
    expect(body).toEqual({ network: { deny: ['*'] }, network_profile: 'locked-down' })
  })

  it('rejects at once when its signal aborts, and destroys what comes of it', async () => {
    const controller = new AbortController()
    const release = Promise.withResolvers<void>()
    const arrived = wire.arrival('POST /v1/runs')
    const answer = wire.answer.bind(wire)
    wire.intercept('POST /v1/runs', async (seen, response) => {
      await release.promise
      await answer(seen, response)
    })
    const creating = portico.create({ image: 'python', signal: controller.signal })
    await arrived
    controller.abort(new Error('changed my mind'))
    await expect(creating).rejects.toThrow('changed my mind')
    const destroyed = wire.arrival('DELETE /v1/runs/*')
    release.resolve()
    await destroyed
    await portico.close()
    expect(wire.sandboxes.size).toBe(0)
  })

  it('sends nothing when its signal has aborted already', async () => {
    await expect(portico.create({ signal: AbortSignal.abort(new Error('too late')) })).rejects.toThrow('too late')
    await portico.close()
    expect(wire.requests).toEqual([])
  })
})

describe('finding sandboxes', () => {
  it('gets one by its id', async () => {
    const { id } = await portico.create({ image: 'python' })
    const found = await portico.get(id)
    expect(found).toMatchObject({ id, image: 'python', status: 'running' })
    expect((await found?.exec('echo hi'))?.stdout).toBe('hi\n')
  })

  it('gets null for an id that is unknown, destroyed or no id', async () => {
    const sandbox = await portico.create()
    await sandbox.destroy()
    expect(await portico.get(sandbox.id)).toBeNull()
    expect(await portico.get('runaaaa')).toBeNull()
    const asked = wire.requests.length
    expect(await portico.get('../runs')).toBeNull()
    expect(await portico.get('')).toBeNull()
    expect(wire.requests.length).toBe(asked)
  })

  it('does not take the 404 of something that is no Portico for a missing sandbox', async () => {
    wire.intercept('GET /v1/runs/*', (_seen, response) => response.writeHead(404).end('<h1>nginx</h1>'))
    await expect(portico.get('runaaaa')).rejects.toMatchObject({ code: 'protocol_error', status: 404 })
  })

  it('lists those that exist, newest first', async () => {
    const first = await portico.create({ image: 'python' })
    const second = await portico.create({ image: 'node' })
    expect((await portico.list()).map(({ id }) => id)).toEqual([second.id, first.id])
  })

  it('lists the images', async () => {
    expect(await portico.images()).toEqual(['node', 'python'])
  })
})

describe('close', () => {
  it('ends the calls under way and refuses new ones', async () => {
    const sandbox = await portico.create()
    const arrived = wire.arrival('POST /v1/runs/*')
    const running = sandbox.exec('hang')
    const seen = await arrived
    const ended = expect(running).rejects.toMatchObject({ code: 'cancelled' })
    await portico.close()
    await ended
    await seen.abandoned
    await expect(portico.list()).rejects.toMatchObject({ code: 'cancelled' })
    expect(wire.sandboxes.size).toBe(1)
  })

  it('waits until a creation that it ended is undone', async () => {
    const release = Promise.withResolvers<void>()
    const arrived = wire.arrival('POST /v1/runs')
    const answer = wire.answer.bind(wire)
    wire.intercept('POST /v1/runs', async (seen, response) => {
      await release.promise
      await answer(seen, response)
    })
    const creating = expect(portico.create()).rejects.toMatchObject({ code: 'cancelled' })
    await arrived
    const closed = portico.close()
    await creating
    release.resolve()
    await closed
    expect(wire.count('DELETE /v1/runs/*')).toBe(1)
    expect(wire.sandboxes.size).toBe(0)
  })
})
