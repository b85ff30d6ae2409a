import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { IrisClient, IrisError, Sandbox } from '../iris.ts'
import { reroute } from './loopback.ts'
import { apiKey, TestPlatform } from './test/platform.ts'

let platform: TestPlatform
const where = () => ({ apiKey, baseUrl: platform.url })

beforeEach(async () => {
  platform = await TestPlatform.open()
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await platform.close()
})

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => (error instanceof IrisError ? error : undefined),
  )

describe('the two surfaces', () => {
  it('find key and gateway in the environment', async () => {
    vi.stubEnv('IRIS_API_KEY', apiKey)
    vi.stubEnv('IRIS_API_URL', `${platform.url}/`)
    const sandbox = await Sandbox.create({ name: 'my-agent' })
    expect(sandbox).toMatchObject({ id: 'sb_a', name: 'n', domain: platform.domain, state: 'running' })
    expect((await new IrisClient().sandboxes.list()).map(({ id, state }) => [id, state])).toEqual([['sb_a', 'running']])
    expect(platform.seen[0]).toMatchObject({
      line: 'POST /iris.public.v1.SandboxService/CreateSandbox',
      body: '{"name":"my-agent"}',
    })
  })

  it('are refused at once without a key or a gateway', () => {
    vi.stubEnv('IRIS_API_KEY', '')
    vi.stubEnv('IRIS_API_URL', '')
    expect(() => new IrisClient({ baseUrl: platform.url })).toThrow(/set IRIS_API_KEY/)
    expect(() => new IrisClient({ apiKey })).toThrow(/set IRIS_API_URL/)
    expect(() => new IrisClient({ apiKey, baseUrl: 'portico.example' })).toThrow(/cannot use the URL/)
  })

  it('see each its own credential: the gateway the key, the host of the sandbox the token', async () => {
    const sandbox = await Sandbox.create(where())
    await sandbox.files.write('/a', 'b')
    expect(platform.seen.map(({ plane, headers }) => [plane, headers.host, headers.authorization])).toEqual([
      [false, new URL(platform.url).host, `Bearer ${apiKey}`],
      [true, platform.domain, 'Bearer token1'],
    ])
  })

  it('do with whole sandboxes what is asked for', async () => {
    const { sandboxes } = new IrisClient(where())
    const sandbox = await sandboxes.create()
    await (await sandboxes.get('sb_a')).fork({ name: 'branch' })
    await sandboxes.fork('sb_a')
    await sandboxes.suspend('sb_a')
    await sandboxes.resume('sb_a')
    await sandboxes.delete('sb_a')
    await sandbox.kill()
    expect(platform.seen.map(({ line, body }) => [line.split('/').at(-1), JSON.parse(body)])).toEqual([
      ['CreateSandbox', {}],
      ['GetSandbox', { sandbox_id: 'sb_a' }],
      ['ForkSandbox', { sandbox_id: 'sb_a', name: 'branch' }],
      ['ForkSandbox', { sandbox_id: 'sb_a' }],
      ['SuspendSandbox', { sandbox_id: 'sb_a' }],
      ['ResumeSandbox', { sandbox_id: 'sb_a' }],
      ['DeleteSandbox', { sandbox_id: 'sb_a' }],
      ['DeleteSandbox', { sandbox_id: 'sb_a' }],
    ])
  })
})

describe('the token', () => {
  const authorizations = () => platform.planned.map(({ headers }) => headers.authorization)
  const issued = () => platform.seen.filter(({ line }) => line.endsWith('/IssueDataPlaneToken')).length

  it('is asked for once by however many calls of a sandbox that was looked up', async () => {
    const sandbox = await Sandbox.connect('sb_a', where())
    // The answer to GetSandbox carries none that the client would use.
    await Promise.all(Array.from({ length: 5 }, () => sandbox.files.mkdir({ path: '/a' })))
    expect(issued()).toBe(1)
    expect(new Set(authorizations())).toEqual(new Set(['Bearer token2']))
  })

  it('is renewed with less than 30 s left, and not before', async () => {
    platform.tokenMs = 60_000
    const lasting = await Sandbox.create(where())
    await lasting.files.mkdir({ path: '/a' })
    expect(issued()).toBe(0)
    platform.tokenMs = 29_000
    const ending = await Sandbox.create(where())
    platform.tokenMs = 60_000
    await ending.files.mkdir({ path: '/a' })
    await ending.files.mkdir({ path: '/b' })
    expect(issued()).toBe(1)
  })

  it('that is refused is renewed once, and the call made again as it was', async () => {
    const sandbox = await Sandbox.create(where())
    platform.answer = ({ plane, headers }) =>
      plane && headers.authorization === 'Bearer token1' ? { status: 401, json: {} } : undefined
    await Promise.all([sandbox.files.write('/a', 'text', '0755'), sandbox.files.mkdir({ path: '/b' })])
    expect(issued()).toBe(1)
    const [first, ...others] = platform.planned.filter(({ line }) => line.startsWith('POST /v1/files?'))
    expect(others).toHaveLength(1)
    const { authorization: _, ...headers } = first?.headers ?? {}
    expect(others[0]).toMatchObject({ line: first?.line, body: 'text', headers })
  })

  it('that is refused again ends the call', async () => {
    const sandbox = await Sandbox.create(where())
    platform.answer = ({ plane }) =>
      plane ? { status: 401, json: { error: 'the token is not valid', code: 'unauthorized' } } : undefined
    expect(await refusal(sandbox.files.read('/a'))).toMatchObject({ status: 401, code: 'unauthorized' })
    expect(authorizations()).toEqual(['Bearer token1', 'Bearer token2'])
  })

  it('is not renewed for the key: a key that the gateway refuses is an error', async () => {
    platform.answer = () => ({ status: 401, json: { code: 'unauthenticated', message: 'cannot call: no such key' } })
    expect(await refusal(Sandbox.create(where()))).toMatchObject({ status: 401, code: 'unauthenticated' })
    expect(platform.seen).toHaveLength(1)
  })
})

describe('an error', () => {
  it('has status, code and message of what the gateway or the sandbox answered', async () => {
    const sandbox = await Sandbox.create(where())
    platform.answer = ({ plane }) =>
      plane
        ? { status: 404, json: { error: 'cannot read /a: no such file', code: 'file_not_found', retryable: false } }
        : { status: 400, json: { code: 'invalid_argument', message: 'the name is too long' } }
    expect(await refusal(sandbox.files.read('/a'))).toMatchObject({
      status: 404,
      code: 'file_not_found',
      message: 'cannot read /a: no such file',
    })
    expect(await refusal(Sandbox.create(where()))).toMatchObject({
      status: 400,
      code: 'invalid_argument',
      message: 'cannot create a sandbox: the name is too long',
    })
  })

  it('goes by the status where the body says nothing', async () => {
    const sandbox = await Sandbox.create(where())
    platform.answer = () => ({ status: 413, text: '<html>' })
    const message = 'cannot write /a: the server answered 413'
    expect(await refusal(sandbox.files.write('/a', ''))).toMatchObject({
      status: 413,
      code: 'payload_too_large',
      message,
    })
  })

  it('says what is wrong with an answer that is not what was asked for', async () => {
    const sandbox = await Sandbox.create(where())
    platform.answer = () => ({ json: { path: '/a' } })
    expect((await refusal(sandbox.files.list('/a')))?.message).toMatch(
      /^cannot list \/a: the answer cannot be read: entr/,
    )
  })

  it('that may be mended lets a look be repeated, and nothing else', async () => {
    const sandbox = await Sandbox.create(where())
    let refusals = 0
    platform.answer = ({ line }) => {
      if (line.startsWith('POST') || refusals++ < 2) return { status: 503, json: { error: 'away', code: 'no_runner' } }
      return { json: { exists: false } }
    }
    expect(await sandbox.files.exists('/a')).toEqual({ exists: false })
    expect(platform.planned).toHaveLength(3)
    expect(await refusal(sandbox.exec.run('true'))).toMatchObject({ status: 503, code: 'no_runner', retryable: true })
    expect(platform.planned).toHaveLength(4)
  })

  it('of a platform that is not there names it', async () => {
    const { url } = platform
    await platform.close()
    expect(await refusal(Sandbox.create({ apiKey, baseUrl: url }))).toMatchObject({
      status: 0,
      code: 'unavailable',
      message: expect.stringContaining(`no answer from ${url}: connect ECONNREFUSED`),
    })
    platform = await TestPlatform.open()
  })

  it('of a signal is its own reason, also while a token is awaited', async () => {
    const sandbox = await Sandbox.connect('sb_a', where())
    const ending = new AbortController()
    const why = new Error('enough')
    platform.answer = async () => {
      ending.abort(why)
      return undefined
    }
    await expect(sandbox.files.read('/a', { signal: ending.signal })).rejects.toBe(why)
  })
})

describe('the parts of a sandbox', () => {
  it.each<[string, (sandbox: Sandbox) => Promise<unknown>, unknown?]>([
    ['POST /v1/files?path=%2Fa%20b', ({ files }) => files.write('/a b', 'text')],
    ['GET /v1/files?path=%2Fa', ({ files }) => files.readText('/a')],
    ['DELETE /v1/files?path=%2Fa', ({ files }) => files.remove('/a')],
    ['DELETE /v1/files?path=%2Fa&recursive=true', ({ files }) => files.remove('/a', { recursive: true })],
    ['GET /v1/files/list?path=%2Fa&depth=2', ({ files }) => files.list('/a', { depth: 2 })],
    ['GET /v1/files/stat?path=%2Fa', ({ files }) => files.stat('/a')],
    ['POST /v1/files/mkdir', ({ files }) => files.mkdir({ path: '/a', parents: true }), { path: '/a', parents: true }],
    [
      'POST /v1/files/move',
      ({ files }) => files.move({ source: '/a', destination: '/b' }),
      { source: '/a', destination: '/b' },
    ],
    ['POST /v1/exec', ({ exec }) => exec.run('echo hello'), { cmd: 'echo hello' }],
    [
      'POST /v1/exec',
      ({ exec }) => exec.run({ cmd: ['a', 'b'], dir: '/app', env: { A: 'b' }, timeout_ms: 60_000, stdin: '' }),
      { cmd: ['a', 'b'], dir: '/app', env: { A: 'b' }, timeout_ms: 60_000, stdin: '' },
    ],
    ['POST /v1/checkpoints', ({ checkpoint }) => checkpoint.create({ name: 'a' }), { name: 'a' }],
    ['GET /v1/checkpoints', ({ checkpoint }) => checkpoint.list()],
    [
      'POST /v1/checkpoints/wait',
      ({ checkpoint }) => checkpoint.wait({ checkpoint_id: 'cpa' }),
      { checkpoint_id: 'cpa' },
    ],
    ['POST /v1/checkpoints/cpa/restore', ({ checkpoint }) => checkpoint.restore('cpa')],
    ['DELETE /v1/checkpoints/cpa', ({ checkpoint }) => checkpoint.delete('cpa')],
    [
      'PUT /v1/services/redis',
      ({ services }) => services.upsert('redis', { cmd: 'redis-server', health_port: 6379 }),
      { cmd: 'redis-server', health_port: 6379 },
    ],
    ['POST /v1/services/redis/start', ({ services }) => services.start('redis')],
    ['POST /v1/services/redis/stop', ({ services }) => services.stop('redis')],
    ['GET /v1/services/redis', ({ services }) => services.get('redis')],
    ['GET /v1/services', ({ services }) => services.list()],
    ['DELETE /v1/services/redis', ({ services }) => services.delete('redis')],
    [
      'POST /v1/services/redis/exec',
      ({ services }) => services.exec('redis', ['redis-cli', 'ping'], { timeout_secs: 10 }),
      { cmd: ['redis-cli', 'ping'], timeout_secs: 10 },
    ],
    [
      'PUT /v1/store/a%2Fb',
      ({ store }) => store.set('a/b', { value: { step: 3 }, ttl_seconds: 3600 }),
      { value: { step: 3 }, ttl_seconds: 3600 },
    ],
    ['GET /v1/store/a', ({ store }) => store.get('a')],
    [
      'GET /v1/store?prefix=run_&limit=2&after=run_1',
      ({ store }) => store.list({ prefix: 'run_', limit: 2, after: 'run_1' }),
    ],
    ['DELETE /v1/store/a', ({ store }) => store.delete('a')],
    [
      'POST /v1/store/batch',
      ({ store }) => store.batch([{ op: 'delete', key: 'temp' }]),
      { operations: [{ op: 'delete', key: 'temp' }] },
    ],
  ])('%s', async (line, call, body) => {
    const sandbox = await Sandbox.create(where())
    // Most answers are more than the usual one; what is sent is what counts here.
    await call(sandbox).catch((error: unknown) => expect(error).toMatchObject({ code: 'internal', status: 200 }))
    expect(platform.planned.map((seen) => seen.line)).toEqual([line])
    const sent = platform.planned[0]?.body ?? ''
    expect(sent === '' || sent === 'text' ? undefined : JSON.parse(sent)).toEqual(body)
  })

  it('send a mode as it was given, and refuse one that is none', async () => {
    const { files } = await Sandbox.create(where())
    await files.write('/app/run.sh', '#!/bin/sh\necho hello', '0755')
    expect(platform.planned[0]).toMatchObject({ headers: { 'x-file-mode': '0755' }, body: '#!/bin/sh\necho hello' })
    expect(await refusal(files.write('/a', '', '+x'))).toMatchObject({ code: 'invalid_argument', status: 0 })
    expect(platform.planned).toHaveLength(1)
  })

  it('answer null for a key that is not there, and only for that', async () => {
    const { store } = await Sandbox.create(where())
    platform.answer = () => ({ status: 404, json: { error: 'cannot get a: no such key', code: 'not_found' } })
    expect(await store.get('a')).toBeNull()
    platform.answer = () => ({ status: 404, json: { error: 'cannot get a: gone', code: 'sandbox_not_found' } })
    expect(await refusal(store.get('a'))).toMatchObject({ status: 404 })
  })
})

describe('a name below localhost', () => {
  it('is reached on this machine under its own name, and no other name is touched', () => {
    const headers = { authorization: 'Bearer a' }
    expect(reroute({ origin: 'http://a.sandbox.localhost:8787', headers })).toEqual({
      origin: 'http://127.0.0.1:8787',
      headers: { ...headers, host: 'a.sandbox.localhost:8787' },
    })
    expect(reroute({ origin: 'http://a.localhost', headers: ['x', 'y'] })).toEqual({
      origin: 'http://127.0.0.1',
      headers: ['x', 'y', 'host', 'a.localhost'],
    })
    for (const origin of ['https://a.localhost', 'http://a.example', 'http://127.0.0.1:1', 'http://localhost:1'])
      expect(reroute({ origin, headers })).toEqual({ origin, headers })
  })
})
