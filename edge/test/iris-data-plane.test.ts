/** A sandbox's own host: who may enter, what leads there, and the calls whose bodies are Iris's own. */

import { env } from 'cloudflare:workers'
import type { IrisSandboxWithToken, IrisToken } from '@portico/shared/api'
import { FakeClock } from '@portico/shared/clock'
import { answer as accept, type TunnelStream } from '@portico/shared/tunnel'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import { objectsOf } from '../src/durable/objects.ts'
import { sandboxTable } from '../src/iris/table.ts'
import { unwrap } from '../src/outcome.ts'
import { adminKey, answer, ask, newTenant, read } from './client.ts'
import { done, pattern, someCheckpoint, someService, someStat } from './guest-scene.ts'
import { gatewayAnswer, type InsideAsk, inside, newIris } from './iris-scene.ts'
import { enrol, guestAnswers, readAll, type Script, ScriptedRunner } from './scripted-runner.ts'

let account = ''
let key = ''
/** Of all tests that do not end or exhaust it. */
let shared: IrisSandboxWithToken
let iris: IrisSandboxWithToken
let runner: ScriptedRunner
let guest: Script['guest.request']

beforeAll(async () => {
  const tenant = await newTenant()
  account = tenant.account
  key = tenant.key
  runner = await ScriptedRunner.connect(await enrol(), { 'guest.request': (call, stream) => guest?.(call, stream) })
  await runner.report({ free_slots: 1000, free_mem_mib: 1_000_000, total_mem_mib: 1_000_000 })
  shared = await newIris(key)
})
beforeEach(() => {
  iris = shared
  guest = (_call, stream) => guestAnswers(stream, 200, done)
})
afterAll(() => runner.cut())

const send = (path: string, asked: InsideAsk = {}) =>
  inside(iris.sandbox, path, { token: iris.data_plane_token, ...asked })
const id = () => iris.sandbox.id.replace('sb_', 'run')

/** Something for each row. */
const bodies: Readonly<Record<string, InsideAsk>> = {
  '/v1/exec': { json: { cmd: 'true' } },
  '/v1/files': { body: 'content' },
  '/v1/files/mkdir': { json: { path: '/a' } },
  '/v1/files/move': { json: { source: '/a', destination: '/b' } },
  '/v1/checkpoints/wait': { json: { checkpoint_id: someCheckpoint } },
  '/v1/services/:name': { json: { cmd: 'true' } },
  '/v1/services/:name/exec': { json: { cmd: ['true'] } },
  '/v1/store/:key': { json: { value: 1 } },
  '/v1/store/batch': { json: { operations: [] } },
}
const ways = sandboxTable.flatMap(({ methods, path, body }) =>
  methods.map((method): [string, string, InsideAsk] => [
    method,
    `${path.replace(':name', 'web').replace(':key', 'a').replace(':checkpoint', someCheckpoint)}?path=/etc/hostname`,
    { method, ...(body.kind === 'none' ? {} : bodies[path]) },
  ]),
)

/** A guest that does whatever it is asked. */
const answersAll: Script['guest.request'] = (call, stream) => {
  const [path = ''] = call.path.split('?')
  if (path === '/services/logs') {
    // An empty answer is a whole one.
    accept(stream, { status: 200, headers: {} })
    return stream.end()
  }
  const told: Readonly<Record<string, object>> = {
    '/exec': done,
    '/files/list': { path: '/etc', entries: [], truncated: false, deeper: false },
    '/services': [],
    '/services/exec': { ...done, ok: true },
  }
  const ok = { ok: true, deleted: true, exists: true, entry_type: 'file' }
  guestAnswers(stream, 200, told[path] ?? { ...someStat, ...someService, ...ok })
}

describe('every row', () => {
  test('is entered by a token and by nothing else', () => {
    expect(new Set(sandboxTable.map(({ access }) => access))).toEqual(new Set(['sandbox-token']))
    expect(ways.length).toBeGreaterThan(20)
  })

  test.each(ways)('%s %s refuses whoever has no token of this sandbox', async (_method, path, asked) => {
    const before = runner.count('guest.request')
    const wrong = [undefined, 'nonsense', key, adminKey, runner.token, `${iris.data_plane_token}A`, 'a.b.c']
    for (const token of wrong) {
      const response = await inside(iris.sandbox, path, { ...asked, ...(token === undefined ? {} : { token }) })
      expect(response.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"')
      expect(await read(response), token).toMatchObject({ status: 401, code: 'unauthorized', retryable: false })
    }
    const other = { account, region: 'local', sandbox: `run${'a'.repeat(26)}` }
    const { token } = unwrap(await objectsOf(env).keyring().sign(other, 60))
    const foreign = await send(path, { ...asked, token })
    expect(await read(foreign)).toMatchObject({ status: 403, code: 'forbidden' })
    expect(runner.count('guest.request')).toBe(before)
  })

  test.each(ways)('%s %s serves whoever has', async (_method, path, asked) => {
    guest = answersAll
    await send('/v1/store/a', { method: 'PUT', json: { value: 1 } })
    const response = await send(path, asked)
    const text = await response.text()
    expect(response.status, text).toBeLessThan(300)
    for (const header of ['access-control-allow-origin', 'set-cookie']) expect(response.headers.get(header)).toBeNull()
  })
})

describe('a token', () => {
  const claims = () => ({ account, region: 'local', sandbox: id() })
  const signed = async () => unwrap(await objectsOf(env).keyring().sign(claims(), 3600)).token

  test('counts until it ends, and half a minute more for clocks that differ', async () => {
    const clock = new FakeClock(Date.now())
    const app = buildApp(sandboxTable, clock)
    const token = await signed()
    const status = async () => {
      const headers = { authorization: `Bearer ${token}` }
      const response = await app.request(`http://${iris.sandbox.domain}/v1/store`, { headers }, env)
      await response.text()
      return response.status
    }
    expect(await status()).toBe(200)
    await clock.advance(3_600_000 + 28_000)
    expect(await status()).toBe(200)
    await clock.advance(3000)
    expect(await status()).toBe(401)
  })

  test('of a key that was rotated away still counts', async () => {
    await answer('/admin/signing-keys/rotate', { key: adminKey, method: 'POST' })
    expect((await send('/v1/store')).status).toBe(200)
    const fresh = await gatewayAnswer<IrisToken>('IssueDataPlaneToken', { sandbox_id: iris.sandbox.id }, key)
    expect((await send('/v1/store', { token: fresh.data_plane_token })).status).toBe(200)
  })

  test('that somebody else signed, or nobody, or for something else, is none', async () => {
    const [head = '', content = '', signature = ''] = iris.data_plane_token.split('.')
    const { kid } = JSON.parse(atob(head)) as { kid: string }
    const pair = (await crypto.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
      true,
      ['sign', 'verify'],
    )) as CryptoKeyPair
    const forged = (alg: string) =>
      new SignJWT({ account, region: 'local' })
        .setProtectedHeader({ alg, kid })
        .setIssuer('portico')
        .setAudience('portico-data-plane')
        .setSubject(iris.sandbox.id)
        .setIssuedAt()
        .setExpirationTime('1h')
    const none = btoa(JSON.stringify({ alg: 'none', kid })).replaceAll('=', '')
    const text = (part: string) => part.replaceAll('=', '').replaceAll('+', '-').replaceAll('/', '_')
    const longer = text(btoa(atob(content.replaceAll('-', '+').replaceAll('_', '/')).replace('"exp":1', '"exp":9')))
    const mac = await crypto.subtle.importKey(
      'raw',
      new TextEncoder().encode(kid),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['sign'],
    )
    const confused = await forged('HS256').sign(mac)
    const wrong = [
      await forged('RS256').sign(pair.privateKey),
      `${none}.${content}.`,
      `${none}.${content}.${signature}`,
      `${head}.${longer}.${signature}`,
      confused,
    ]
    for (const token of wrong) expect((await read(await send('/v1/store', { token }))).status, token).toBe(401)
    expect((await send('/v1/store')).status).toBe(200)
  })

  test('is worth nothing at the API, and nothing once its sandbox is gone', async () => {
    for (const path of ['/v1/runs', `/v1/runs/${id()}`, '/admin/signing-keys']) {
      expect((await ask(path, { key: iris.data_plane_token })).status).toBe(401)
    }
    iris = await newIris(key)
    await gatewayAnswer('DeleteSandbox', { sandbox_id: iris.sandbox.id }, key)
    expect(await read(await send('/v1/store'))).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    expect(await read(await send('/v1/exec', { json: { cmd: 'x' } }))).toMatchObject({ code: 'sandbox_not_found' })
  })

  test("counts against its account's requests per second", async () => {
    const tenant = await newTenant()
    iris = await newIris(tenant.key)
    const json = { requests_per_second: 2 }
    await answer(`/admin/accounts/${tenant.account}/limits`, { key: adminKey, method: 'PUT', json })
    const statuses = await Promise.all(Array.from({ length: 12 }, async () => (await send('/v1/store')).status))
    expect(new Set(statuses)).toEqual(new Set([200, 429]))
  })
})

describe('the host', () => {
  test('answers paths and methods as the API does, and HEAD as GET', async () => {
    const unknown = await send('/v1/runs')
    expect(await read(unknown)).toMatchObject({ status: 404, code: 'not_found' })
    for (const path of ['/', '/v1', '/healthz', '/console/', '/admin/accounts', `/v1/runs/${id()}`]) {
      expect((await read(await send(path))).status, path).toBe(404)
    }
    const refused = await send('/v1/files', { method: 'PATCH' })
    expect(refused.headers.get('allow')).toBe('POST, GET, HEAD, DELETE')
    expect(await read(refused)).toMatchObject({ status: 405 })
    const preflight = await send('/v1/exec', { method: 'OPTIONS', headers: { origin: 'https://x.test' } })
    expect(preflight.status).toBe(405)
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull()
    const head = await send('/v1/store', { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(await head.text()).toBe('')
  })

  test('is that of the ports below /sb/p/, whatever token comes along', async () => {
    const response = await send('/sb/p/8080/v1/store')
    expect(response.status).toBe(204)
    expect(runner.calls.at(-1)).toMatchObject({ op: 'port.request' })
  })

  test('lets an Idempotency-Key stand for one sandbox alone', async () => {
    const other = await newIris(key)
    const headers = { 'idempotency-key': 'the same' }
    const first = await send('/v1/checkpoints', { json: {}, headers })
    expect(first.status, await first.text()).toBe(201)
    const second = await inside(other.sandbox, '/v1/checkpoints', { token: other.data_plane_token, json: {}, headers })
    expect(await read(second)).toMatchObject({ status: 422, code: 'idempotency_mismatch' })
  })
})

/** A long answer, in pieces of this size, without a length. */
function longAnswer(stream: TunnelStream, told: unknown, piece: number): void {
  const bytes = new TextEncoder().encode(JSON.stringify(told))
  accept(stream, { status: 200, headers: { 'Content-Type': 'application/json' } })
  void (async () => {
    await stream.write(bytes.subarray(0, 9))
    for (let at = 9; at < bytes.length; at += piece) await stream.write(bytes.subarray(at, at + piece))
    stream.end()
  })()
}

describe('exec', () => {
  const exec = async (json: object) => (await send('/v1/exec', { json })).json<Record<string, unknown>>()

  test('runs text with a shell and a list as it is, in / for a minute unless told', async () => {
    const asked: unknown[] = []
    guest = async (_call, stream) => {
      asked.push(JSON.parse(await readAll(stream)))
      guestAnswers(stream, 200, done)
    }
    expect(await exec({ cmd: 'echo hi' })).toEqual({
      ...{ stdout: 'hi\n', stderr: '', exit_code: 0, ok: true, timed_out: false, duration_ms: 3 },
      ...{ stdout_truncated: false, stderr_truncated: false },
    })
    await exec({ cmd: ['python3', 'a b'], dir: '/app', env: { A: '1' }, timeout_ms: 1500.5, stdin: 'x' })
    expect(asked).toEqual([
      { shell: 'echo hi', cwd: '/', timeout_ms: 60_000 },
      { argv: ['python3', 'a b'], cwd: '/app', env: { A: '1' }, timeout_ms: 1501, stdin: btoa('x') },
    ])
    for (const json of [{}, { cmd: '' }, { cmd: [] }, { cmd: 'x', dir: 'app' }, { cmd: 'x', timeout_ms: 0 }]) {
      expect(await read(await send('/v1/exec', { json }))).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })

  test('tells a failure as an answer, and a timeout as 124', async () => {
    guest = (_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: 3, stderr: 'no' })
    expect(await exec({ cmd: 'x' })).toMatchObject({ ok: false, exit_code: 3, stderr: 'no', timed_out: false })
    guest = (_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: 137, timed_out: true, signal: 'KILL' })
    expect(await exec({ cmd: 'x' })).toMatchObject({ ok: false, exit_code: 124, timed_out: true, stdout: 'hi\n' })
  })

  const trap = '","timed_out":true,"x":"}\n'
  const long = { ...done, stdout: `${trap}ä"`.repeat(5000), stderr: trap.repeat(10) }
  const cases: [string, typeof done & { signal?: string }, object][] = [
    ['success', long, { exit_code: 0, ok: true }],
    ['a failure', { ...long, exit_code: -1 }, { exit_code: -1, ok: false }],
    ['a timeout', { ...long, exit_code: 137, timed_out: true, signal: 'KILL' }, { exit_code: 124, ok: false }],
  ]
  test.each(cases)(
    'passes a long answer of %s through and adds what it lacks at its end',
    async (_name, told, added) => {
      for (const piece of [999, 10_000_000]) {
        guest = (_call, stream) => longAnswer(stream, told, piece)
        expect(await exec({ cmd: 'x' })).toEqual({ ...told, ...added })
      }
    },
  )

  test.each(['<h1>', '{"exit_code":0}', '{"exit_code":"x","stdout":""}'])(
    'of a guest that answers %s fails',
    async (text) => {
      guest = (_call, stream) => {
        const bytes = new TextEncoder().encode(text)
        accept(stream, { status: 200, headers: { 'Content-Length': String(bytes.length) } })
        void stream.write(bytes)
        stream.end()
      }
      expect(await read(await send('/v1/exec', { json: { cmd: 'x' } }))).toMatchObject({
        status: 502,
        code: 'guest_error',
      })
    },
  )

  test('that is cut off in the middle of a long answer breaks its stream', async () => {
    const half = JSON.stringify(long).slice(0, 100_000)
    guest = (_call, stream) => {
      accept(stream, { status: 200, headers: {} })
      void stream.write(new TextEncoder().encode(half))
      stream.end()
    }
    const response = await send('/v1/exec', { json: { cmd: 'x' } })
    await expect(response.text()).rejects.toThrow()
  })

  test('is in the audit log', async () => {
    iris = await newIris(key)
    guest = (_call, stream) => guestAnswers(stream, 200, { ...done, exit_code: 7 })
    await exec({ cmd: ['make', 'all'] })
    const log = async () => (await (await ask(`/v1/runs/${id()}/audit`, { key })).text()).trim().split('\n')
    await expect.poll(async () => (await log()).length).toBe(3)
    const [, start, exit] = (await log()).map((line) => JSON.parse(line) as { event: string; data: object })
    expect(start).toMatchObject({ event: 'exec.start', data: { command: ['make', 'all'] } })
    expect(exit).toMatchObject({ event: 'exec.exit', data: { exit_code: 7 } })
  })
})

describe('a file', () => {
  const most = 1_048_576

  test.each([0, 1, 65_537, most])('of %i bytes is written, with its mode', async (size) => {
    const got: object[] = []
    guest = async (call, stream) => {
      let length = 0
      for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) length += bytes.length
      got.push({ asked: `${call.method} ${call.path}`, told: call.headers['content-length'], length })
      guestAnswers(stream, 200, { path: '/a b', size: length })
    }
    const body = pattern(size)
    const response = await send('/v1/files?path=/a%20b', { method: 'POST', body, headers: { 'x-file-mode': '0755' } })
    expect(await response.json()).toEqual({ ok: true, path: '/a b', size })
    expect(got).toEqual([{ asked: 'PUT /files?path=%2Fa+b&mode=0755', told: String(size), length: size }])
  })

  test('of one byte more is refused, with its length told or not', async () => {
    const before = runner.count('guest.request')
    const whole = await send('/v1/files?path=/x', { body: pattern(most + 1) })
    expect(await read(whole)).toMatchObject({ status: 413, code: 'payload_too_large' })
    let left = 17
    const body = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(pattern(65_536)) : controller.close()),
    })
    expect(await read(await send('/v1/files?path=/x', { body }))).toMatchObject({ status: 413 })
    expect(runner.count('guest.request')).toBe(before)
  })

  test('needs a path and a mode that is one', async () => {
    expect(await read(await send('/v1/files', { body: 'x' }))).toMatchObject({ status: 400, code: 'invalid_path' })
    for (const mode of ['7', '888', '17555', 'rwx', '']) {
      const wrong = await send('/v1/files?path=/x', { body: 'x', headers: { 'x-file-mode': mode } })
      expect(await read(wrong), mode).toMatchObject({ status: 400, code: 'invalid_request' })
    }
  })

  test('is read as it is', async () => {
    guest = (call, stream) => {
      accept(stream, { status: 200, headers: { 'Content-Length': '3', 'Content-Type': 'text/html' } })
      if (call.method === 'GET') void stream.write(new TextEncoder().encode('abc'))
      stream.end()
    }
    const response = await send('/v1/files?path=/x')
    expect(response.headers.get('content-type')).toBe('application/octet-stream')
    expect(await response.text()).toBe('abc')
  })
})
