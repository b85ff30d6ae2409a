import type { ServerResponse } from 'node:http'
import { FakeClock } from '@portico/shared/clock'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { type SeenRequest, sendJson, WireServer } from '../test/wire-server.ts'
import {
  CapacityError,
  Portico,
  RateLimitError,
  type Sandbox,
  TimeoutError,
  UnavailableError,
  ValidationError,
} from './index.ts'
import { type Call, Transport } from './transport.ts'

let wire: WireServer
let portico: Portico
let sandbox: Sandbox

beforeEach(async () => {
  wire = await WireServer.open()
  portico = new Portico({ baseUrl: wire.url, apiKey: wire.apiKey })
  sandbox = await portico.create({ image: 'python' })
})

afterEach(async () => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  await portico.close()
  await wire.close()
})

const cut = (_seen: SeenRequest, response: ServerResponse) => response.destroy()

describe('a call that is safe to repeat', () => {
  const calls: Record<string, () => Promise<unknown>> = {
    'GET /v1/runs': () => portico.list(),
    'GET /v1/images': () => portico.images(),
    'GET /v1/runs/*': () => sandbox.info(),
    'GET /v1/snapshots': () => portico.snapshots(),
    'DELETE /v1/runs/*': () => sandbox.destroy(),
    'POST /v1/runs/*': () => sandbox.hibernate(),
  }

  it.each(Object.entries(calls))('is repeated when %s answers 503', async (route, call) => {
    wire.fail(route, 'no_runner', 2)
    await call()
    expect(wire.count(route)).toBe(3)
  })

  it('is repeated when the connection breaks', async () => {
    wire.intercept('GET /v1/runs', cut, 2)
    await portico.list()
    expect(wire.count('GET /v1/runs')).toBe(3)
  })

  it('is tried four times and then fails with the last answer', async () => {
    wire.fail('GET /v1/runs', 'overloaded', 9)
    await expect(portico.list()).rejects.toMatchObject({
      name: 'UnavailableError',
      code: 'overloaded',
      retryable: true,
    })
    expect(wire.count('GET /v1/runs')).toBe(4)
  })

  it('is repeated for a download until the body begins', async () => {
    await sandbox.files.write('/a', 'b')
    wire.fail('GET /v1/runs/*', 'guest_disconnected')
    expect(await sandbox.files.readText('/a')).toBe('b')
  })

  it('is not repeated after an error that would come again', async () => {
    wire.fail('GET /v1/runs', 'internal')
    await expect(portico.list()).rejects.toMatchObject({ code: 'internal' })
    wire.fail('GET /v1/runs', 'capacity')
    await expect(portico.list()).rejects.toBeInstanceOf(CapacityError)
    expect(wire.count('GET /v1/runs')).toBe(2)
  })

  it('waits as long as it is asked to', async () => {
    const clock = new FakeClock()
    const asked = new Transport({ baseUrl: wire.url, apiKey: wire.apiKey, clock })
    wire.fail('GET /v1/images', 'overloaded', 1, 2)
    const call: Call = { method: 'GET', path: '/v1/images', doing: 'look', limitMs: 60_000, repeatable: true }
    const calling = asked.json(call, z.unknown())
    await vi.waitFor(() => expect(clock.pending).toBe(1))
    await clock.advance(1999)
    expect(clock.pending).toBe(1)
    await clock.advance(1)
    expect(await calling).toMatchObject({ images: ['node', 'python'] })
  })

  it('fails at once when it is asked to wait for long, and says how long', async () => {
    wire.fail('GET /v1/runs', 'sandbox_unreachable', 1, 5)
    await expect(portico.list()).rejects.toMatchObject({ name: 'UnavailableError', retryAfterMs: 5000 })
    expect(wire.count('GET /v1/runs')).toBe(1)
  })

  it('waits longer each time, and not at all once its signal aborts', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(1)
    const clock = new FakeClock()
    const answers: string[] = []
    const fetched = async () => {
      answers.push('503')
      throw new TypeError('fetch failed')
    }
    const transport = new Transport({ baseUrl: 'http://p.example', apiKey: 'k', fetch: fetched, clock })
    const controller = new AbortController()
    const call: Call = {
      method: 'GET',
      path: '/',
      doing: 'look',
      limitMs: 1e9,
      repeatable: true,
      signal: controller.signal,
    }
    const calling = transport.json(call, z.unknown())
    const failed = expect(calling).rejects.toThrow('enough')
    await vi.waitFor(() => expect(clock.pending).toBe(1))
    const times: number[] = []
    for (let step = 0; step < 7; step++) {
      await clock.advance(50)
      times.push(answers.length)
    }
    expect(times).toEqual([1, 2, 2, 2, 2, 3, 3])
    controller.abort(new Error('enough'))
    await failed
    expect(clock.pending).toBe(0)
  })
})

describe('a call that makes something', () => {
  const calls: Record<string, () => Promise<unknown>> = {
    'POST /v1/runs': () => portico.create(),
    'POST /v1/runs/restore': async () => portico.restore((await sandbox.snapshot()).id),
    'POST /v1/runs/*/fork': () => sandbox.fork(2),
    'POST /v1/runs/*/snapshot': () => sandbox.snapshot(),
  }
  const keys = (route: string) =>
    wire.requests
      .filter(({ method, path }) => `${method} ${path.replace(sandbox.id, '*')}` === route)
      .map(({ headers }) => headers['idempotency-key'])

  it.each(Object.entries(calls))('is repeated with the same key when the answer of %s is lost', async (route, call) => {
    const before = keys(route).length
    wire.intercept(route.replace('*', sandbox.id), async (seen, response) => {
      await wire.perform(seen)
      response.destroy()
    })
    await call()
    const [first, second, ...more] = keys(route).slice(before)
    expect(first).toMatch(/^[0-9a-f]{32}$/)
    expect([second, more]).toEqual([first, []])
    const made = wire.sandboxes.size + wire.snapshots.size - 1
    expect(made).toBe({ 'POST /v1/runs': 1, 'POST /v1/runs/*/snapshot': 1 }[route] ?? 2)
  })

  it.each(Object.entries(calls))('is repeated when %s answers 503', async (route, call) => {
    const before = keys(route).length
    wire.fail(route.replace('*', sandbox.id), 'no_runner', 2)
    await call()
    expect(keys(route).length).toBe(before + 3)
  })

  it('has another key each time', async () => {
    await portico.create()
    await portico.create()
    expect(new Set(keys('POST /v1/runs')).size).toBe(3)
  })

  it('waits for the answer of a call that is under way, beyond four tries', async () => {
    wire.fail('POST /v1/runs', 'idempotency_pending', 6, 0)
    await portico.create()
    expect(wire.count('POST /v1/runs')).toBe(1 + 7)
    expect(wire.sandboxes.size).toBe(2)
  })

  it('is not repeated when a limit of the account is reached', async () => {
    wire.fail('POST /v1/runs', 'quota_exceeded', 9, 5)
    await expect(portico.create()).rejects.toMatchObject({ name: 'QuotaError', retryAfterMs: 5000 })
    expect(wire.count('POST /v1/runs')).toBe(2)
  })

  it('answers with the same sandbox where the program gives the same key', async () => {
    const first = await portico.create({ image: 'python', idempotencyKey: 'order-7' })
    const again = await portico.create({ image: 'python', idempotencyKey: 'order-7' })
    expect(again.id).toBe(first.id)
    const other = portico.create({ image: 'node', idempotencyKey: 'order-7' })
    await expect(other).rejects.toMatchObject({ name: 'ConflictError', code: 'idempotency_mismatch' })
  })

  it('leaves what came of it when it is ended under a key of the program', async () => {
    const controller = new AbortController()
    wire.intercept('POST /v1/runs', async (seen) => {
      await wire.perform(seen)
      controller.abort(new Error('enough'))
      await seen.abandoned
    })
    const creating = portico.create({ idempotencyKey: 'order-8', signal: controller.signal })
    await expect(creating).rejects.toThrow('enough')
    const { id } = await portico.create({ idempotencyKey: 'order-8' })
    await portico.close()
    expect(wire.sandboxes.has(id)).toBe(true)
    expect([wire.sandboxes.size, wire.count('DELETE /v1/runs/*')]).toEqual([2, 0])
  })

  it.each(['', 'a b', 'schlüssel', 'x'.repeat(256)])('refuses %j as a key', async (idempotencyKey) => {
    await expect(portico.create({ idempotencyKey })).rejects.toBeInstanceOf(ValidationError)
    expect(wire.count('POST /v1/runs')).toBe(1)
  })
})

describe('a call that was refused for its rate alone', () => {
  it('is repeated whatever it is', async () => {
    wire.fail('POST /v1/runs/*', 'rate_limited', 2, 0)
    expect((await sandbox.exec('echo 1')).stdout).toBe('1\n')
    wire.fail('POST /v1/runs/*', 'rate_limited', 1, 0)
    await sandbox.files.write('/a', 'b')
  })

  it('fails with a RateLimitError when it is refused time and again, or was to wait for long', async () => {
    wire.fail('POST /v1/runs/*', 'rate_limited', 4, 0)
    await expect(sandbox.exec('x')).rejects.toBeInstanceOf(RateLimitError)
    expect(wire.count('POST /v1/runs/*')).toBe(4)
    wire.fail('POST /v1/runs/*', 'rate_limited', 1, 60)
    await expect(sandbox.exec('x')).rejects.toMatchObject({ name: 'RateLimitError', retryAfterMs: 60_000 })
  })

  it('is not repeated where its body can be sent once only', async () => {
    wire.fail('POST /v1/runs/*', 'rate_limited', 1, 0)
    const once = new Blob(['x']).stream()
    await expect(sandbox.files.write('/a', once)).rejects.toBeInstanceOf(RateLimitError)
  })
})

describe('a call that may have had its effect', () => {
  const calls: Record<string, () => Promise<unknown>> = {
    'POST /v1/webhooks': () => portico.webhooks.create({ url: 'https://hook.example' }),
    'POST /v1/runs/*': () => sandbox.exec('echo 1'),
    'PATCH /v1/runs/*': () => sandbox.setTimeout(9),
  }

  it.each(Object.entries(calls))('is not repeated when %s answers 503', async (route, call) => {
    const before = wire.count(route)
    wire.fail(route, 'runner_disconnected', 9)
    await expect(call()).rejects.toBeInstanceOf(UnavailableError)
    expect(wire.count(route)).toBe(before + 1)
  })

  it.each(Object.entries(calls))('is not repeated when the connection of %s breaks', async (route, call) => {
    const before = wire.count(route)
    wire.intercept(route, cut, 9)
    await expect(call()).rejects.toMatchObject({ name: 'UnavailableError', code: 'unreachable', retryable: true })
    expect(wire.count(route)).toBe(before + 1)
  })

  it('is not repeated for an upload', async () => {
    wire.fail('POST /v1/runs/*', 'guest_disconnected', 9)
    await expect(sandbox.files.write('/a', 'b')).rejects.toBeInstanceOf(UnavailableError)
    expect(wire.count('POST /v1/runs/*')).toBe(1)
  })
})

describe('a limit', () => {
  it('ends a call that gets no answer', async () => {
    wire.intercept('GET /slow', (seen) => seen.abandoned)
    const transport = new Transport({ baseUrl: wire.url, apiKey: 'k' })
    const arrived = wire.arrival('GET /slow')
    const call: Call = { method: 'GET', path: '/slow', doing: 'wait', limitMs: 20, repeatable: true }
    await expect(transport.json(call, z.unknown())).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'deadline',
      status: 0,
    })
    await (await arrived).abandoned
    expect(wire.count('GET /slow')).toBe(1)
  })

  it('of a command is its own timeout and some more', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const silent = new Portico({ baseUrl: 'http://p.example', apiKey: 'k', fetch: answering(record, neverAnswers) })
    const quiet = await silent.create()
    let settled = false
    const running = quiet.exec('x', { timeoutSec: 600 }).finally(() => {
      settled = true
    })
    const late = expect(running).rejects.toBeInstanceOf(TimeoutError)
    await vi.advanceTimersByTimeAsync(640_000)
    expect(settled).toBe(false)
    await vi.advanceTimersByTimeAsync(10_000)
    await late
  })

  it('of a command that may take longer than a timer holds does not fall due at once', async () => {
    const result = await sandbox.exec('echo 1', { timeoutSec: 86_400 })
    expect(result.stdout).toBe('1\n')
    const transport = new Transport({ baseUrl: wire.url, apiKey: wire.apiKey })
    const call: Call = { method: 'GET', path: '/v1/images', doing: 'look', limitMs: 2 ** 40 }
    expect(await transport.json(call, z.unknown())).toMatchObject({ images: ['node', 'python'] })
  })

  it('of a download runs only while bytes are waited for', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const source = new TransformStream<Uint8Array, Uint8Array>()
    const body = new Response(source.readable as ReadableStream<Uint8Array<ArrayBuffer>>)
    const stalled = new Portico({
      baseUrl: 'http://p.example',
      apiKey: 'k',
      fetch: answering(record, async () => body),
    })
    const reader = (await (await stalled.create()).files.stream('/x')).getReader()
    const writer = source.writable.getWriter()
    const written = writer.write(new Uint8Array(1))
    await reader.read()
    await written
    await vi.advanceTimersByTimeAsync(3_600_000)
    const late = expect(reader.read()).rejects.toMatchObject({
      name: 'TimeoutError',
      message: expect.stringContaining('60 s'),
    })
    await vi.advanceTimersByTimeAsync(60_000)
    await late
  })
})

describe('an answer that is not one of Portico’s', () => {
  it.each<[string, (response: ServerResponse) => void, object]>([
    [
      'a page',
      (response) => response.writeHead(200).end('<h1>hello</h1>'),
      { code: 'protocol_error', message: /not JSON/ },
    ],
    [
      'another shape',
      (response) => sendJson(response, 200, { runs: [{ id: 7 }] }),
      { code: 'protocol_error', message: /runs\.0\.id/ },
    ],
    [
      'a redirect',
      (response) => response.writeHead(302, { location: 'https://p.example/' }).end(),
      { code: 'protocol_error', message: /redirect to https:\/\/p\.example/ },
    ],
    [
      'a proxy’s 401',
      (response) => response.writeHead(401).end('who?'),
      { name: 'AuthenticationError', code: 'unauthorized' },
    ],
    [
      'a proxy’s 504',
      (response) => response.writeHead(504).end(),
      { name: 'TimeoutError', code: 'deadline', retryable: true },
    ],
    [
      'a proxy’s 500',
      (response) => response.writeHead(500).end('<h1>oops</h1>'),
      { name: 'PorticoError', code: 'protocol_error', status: 500 },
    ],
  ])('is told apart: %s', async (_what, answer, expected) => {
    wire.intercept('GET /v1/runs', (_seen, response) => answer(response))
    const error: unknown = await portico.list().catch((thrown: unknown) => thrown)
    const { message, ...facts } = expected as { message?: RegExp }
    expect(error).toMatchObject(facts)
    if (message) expect(String(error)).toMatch(message)
    expect(String(error)).not.toMatch(/\n|<h1>/)
  })

  it('of a proxy that cannot reach the platform is repeated like a 503', async () => {
    wire.intercept('GET /v1/runs', (_seen, response) => response.writeHead(502).end('<h1>Bad gateway</h1>'), 2)
    await portico.list()
    expect(wire.count('GET /v1/runs')).toBe(3)
  })
})

describe('a platform that is not there', () => {
  it('is named in the error, with what the system said and the cause', async () => {
    const { url } = wire
    await wire.close()
    const error = await portico.create().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({
      message: `cannot create a sandbox: no answer from ${url}: connection refused`,
      code: 'unreachable',
      status: 0,
      cause: expect.any(TypeError),
    })
    wire = await WireServer.open()
  })
})

const record = {
  id: 'runaaaa',
  status: 'running',
  labels: {},
  image: 'python',
  resolved_image: 'python',
  region: 'local',
  vcpus: 1,
  mem_mib: 1024,
  disk_mib: 4096,
  timeout: 300,
  auto_resume: false,
  on_idle: 'destroy',
  create_ms: 1,
  created_at: '2026-01-02T03:04:05Z',
}

type Fetch = typeof fetch

/** Answers first with a record and then by `next`. */
function answering(first: object, next: Fetch): Fetch {
  let calls = 0
  return async (input, init) => (calls++ === 0 ? Response.json(first) : await next(input, init))
}

const neverAnswers: Fetch = (_input, init) =>
  new Promise((_resolve, reject) => {
    init?.signal?.addEventListener('abort', () => reject(init.signal?.reason))
  })
