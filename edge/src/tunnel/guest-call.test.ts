import { FakeClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { answer, Muxer, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { callRequest, type GuestCall, readCall } from '../guest/wire.ts'
import { guestCall } from './guest-call.ts'
import type { Session } from './sessions.ts'

const call: Omit<GuestCall, 'whole' | 'text'> = {
  sandbox: 'run',
  generation: 1,
  method: 'GET',
  path: '/x',
  headers: {},
  request_id: 'req',
  wait_ms: 30_000,
}

let clock: FakeClock
let session: Session
let isHeard: boolean
/** What the guest's side of the next call is. */
let accepted: PromiseWithResolvers<TunnelStream>

beforeEach(async () => {
  clock = new FakeClock(1_000_000)
  isHeard = true
  accepted = Promise.withResolvers()
  const { edge } = await pair((stream) => accepted.resolve(stream))
  session = { id: 's', muxer: edge, isAlive: () => isHeard, drop: (error) => edge.close(error) }
})

afterEach(() => session.muxer.close())

/** An edge and a runner, joined in memory. */
async function pair(onStream: (stream: TunnelStream) => void): Promise<{ edge: Muxer; runner: Muxer }> {
  const hello = { generation: 1, window: 262_144 }
  const common = { messages: true, clock: new FakeClock() }
  const edge: Muxer = new Muxer({
    ...common,
    carrier: { send: (bytes) => runner.receive(bytes), close: (error) => runner.close(error) },
    opens: 'odd',
    hello: { ...hello, role: 'edge' },
    disconnected: 'runner_disconnected',
  })
  const runner: Muxer = new Muxer({
    ...common,
    carrier: { send: (bytes) => edge.receive(bytes), close: (error) => edge.close(error) },
    opens: 'even',
    hello: { ...hello, role: 'runner' },
    disconnected: 'edge_disconnected',
    onStream,
  })
  await edge.ready
  return { edge, runner }
}

function make(more: Partial<GuestCall> = {}, body: ReadableStream | string | null = null): Promise<Response> {
  return through(session, more, body)
}

function through(
  by: Session | undefined,
  more: Partial<GuestCall> = {},
  body: ReadableStream | string | null = null,
): Promise<Response> {
  const request = new Request(...callRequest({ ...call, ...more }, body))
  return guestCall(() => by, readCall(request), request, clock)
}

async function errorOf(response: Response): Promise<unknown> {
  expect(response.headers.get('x-portico-outcome')).toBe('error')
  return response.json()
}

describe('a guest that does not answer', () => {
  test('is given up after the time that the call states, and not before', async () => {
    const pending = make()
    const stream = await accepted.promise
    await clock.advance(29_999)
    expect(session.muxer.openStreams).toBe(1)
    await clock.advance(1)
    expect(await errorOf(await pending)).toMatchObject({ code: 'deadline' })
    expect((await stream.done)?.code).toBe('deadline')
    expect(clock.pending).toBe(0)
  })

  test('is waited for as long as the upload goes on', async () => {
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    const pending = make({ method: 'PUT' }, readable)
    const stream = await accepted.promise
    for (let piece = 0; piece < 5; piece++) {
      await clock.advance(25_000)
      await writer.write(new Uint8Array(10))
      await stream.read()
    }
    await writer.close()
    await stream.read()
    await clock.advance(29_000)
    answer(stream, { status: 200, headers: { 'content-length': '0' } })
    stream.end()
    expect((await pending).status).toBe(200)
    expect(clock.pending).toBe(0)
  })
})

describe('an answer', () => {
  test('of which nothing moves for two minutes is broken off', async () => {
    const pending = make()
    const stream = await accepted.promise
    answer(stream, { status: 200, headers: {} })
    const response = await pending
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await stream.write(new Uint8Array(3))
    expect((await reader.read()).value?.byteLength).toBe(3)
    await clock.advance(119_999)
    expect(session.muxer.openStreams).toBe(1)
    const broken = expect(reader.read()).rejects.toThrow()
    await clock.advance(1)
    await broken
    expect((await stream.done)?.code).toBe('deadline')
    expect(clock.pending).toBe(0)
  })

  test('waits for a caller who was granted patience, and for the guest no longer than ever', async () => {
    const pending = make({ patience_ms: 3_600_000 })
    const stream = await accepted.promise
    answer(stream, { status: 200, headers: {} })
    const reader = ((await pending).body as ReadableStream<Uint8Array>).getReader()
    await stream.write(new Uint8Array(3))
    await clock.advance(3_599_000)
    expect(session.muxer.openStreams).toBe(1)
    expect((await reader.read()).value?.byteLength).toBe(3)
    const broken = expect(reader.read()).rejects.toThrow()
    await clock.advance(120_000)
    await broken
    expect((await stream.done)?.code).toBe('deadline')
    expect(clock.pending).toBe(0)
  })

  test("carries of the guest's headers only those that callers need", async () => {
    const pending = make()
    const stream = await accepted.promise
    const hostile = {
      'X-Portico-Outcome': 'error',
      'Set-Cookie': 'a=b',
      Location: '/',
      ETag: '"x"',
      'Content-Length': '0',
    }
    answer(stream, { status: 201, headers: { ...hostile, 'last-modified': 'a\r\nx-evil: 1' } })
    stream.end()
    const response = await pending
    expect(response.status).toBe(201)
    expect([...response.headers.keys()].sort()).toEqual(
      ['content-length', 'content-type', 'etag', 'x-portico-outcome'].filter((name) => response.headers.has(name)),
    )
    expect(response.headers.get('x-portico-outcome')).toBe('guest')
    expect(response.headers.get('set-cookie')).toBeNull()
    expect(response.headers.get('last-modified')).toBeNull()
  })
})

describe('a runner', () => {
  test('that falls silent ends the calls that wait for it', async () => {
    const pending = make({ wait_ms: 3_600_000 })
    await accepted.promise
    await clock.advance(10_000)
    expect(session.muxer.openStreams).toBe(1)
    isHeard = false
    await clock.advance(10_000)
    expect(await errorOf(await pending)).toMatchObject({ code: 'runner_disconnected' })
    expect(clock.pending).toBe(0)
  })

  test('that takes no more calls is told as it says', async () => {
    session.muxer.close(new AppError('runner_disconnected', 'cannot go on: gone'))
    expect(await errorOf(await make())).toMatchObject({ code: 'runner_disconnected' })
    expect(await errorOf(await through(undefined))).toMatchObject({
      code: 'runner_disconnected',
      message: 'cannot reach the sandbox: its runner is not connected',
    })
  })
})

describe('a text that the Worker has whole', () => {
  test.each([
    ['a short one', 'printf "é"'],
    ['a long one', 'é'.repeat(100_000)],
    ['an empty one', ''],
  ])('%s reaches the guest as it was', async (_what, text) => {
    const pending = make({ method: 'POST' }, text)
    const stream = await accepted.promise
    const parts: Uint8Array[] = []
    for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) parts.push(bytes)
    expect(await new Blob(parts).text()).toBe(text)
    answer(stream, { status: 200, headers: { 'content-length': '0' } })
    stream.end()
    expect((await pending).status).toBe(200)
  })

  test('a short one needs no body of its own, a long one is no header', () => {
    const [, short] = callRequest({ ...call, method: 'POST' }, 'x'.repeat(4096))
    const [, long] = callRequest({ ...call, method: 'POST' }, 'x'.repeat(4097))
    expect(short.body).toBeUndefined()
    expect(long.body).toHaveLength(4097)
  })
})

describe('a refusal while the caller still sends', () => {
  test('is answered once the caller has sent the rest, or after ten seconds', async () => {
    const { readable, writable } = new IdentityTransformStream()
    const writer = writable.getWriter()
    const pending = make({ method: 'PUT' }, readable)
    const stream = await accepted.promise
    await writer.write(new Uint8Array(10))
    answer(stream, { status: 507, headers: { 'content-length': '2' } })
    await stream.write(new TextEncoder().encode('no'))
    stream.end()
    await stream.done
    let isAnswered = false
    const response = pending.then((given) => {
      isAnswered = true
      return given
    })
    await clock.advance(9_999)
    expect(isAnswered).toBe(false)
    await clock.advance(1)
    expect((await response).status).toBe(507)
    expect(await (await response).text()).toBe('no')
    await writer.abort().catch(() => undefined)
  })
})
