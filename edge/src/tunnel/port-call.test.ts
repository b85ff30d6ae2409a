import { FakeClock } from '@portico/shared/clock'
import { encodePortMessage, PortMessageDecoder } from '@portico/shared/control'
import { answer, Muxer, type TunnelStream } from '@portico/shared/tunnel'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type PortCall, portRequest, readPortCall } from '../port/wire.ts'
import { portCall } from './port-call.ts'
import type { Session } from './sessions.ts'

const call: PortCall = {
  op: 'port.request',
  sandbox: 'run',
  generation: 1,
  port: 80,
  method: 'GET',
  path: '/',
  headers: [],
  protocols: [],
  request_id: 'req',
  body: 'none',
  prefix: '',
  sandboxed: false,
}

let clock: FakeClock
let session: Session
let isHeard: boolean
/** The app's side of the next call. */
let accepted: PromiseWithResolvers<TunnelStream>

beforeEach(async () => {
  clock = new FakeClock(1_000_000)
  isHeard = true
  accepted = Promise.withResolvers()
  const common = { messages: true, clock: new FakeClock() }
  const hello = { generation: 1, window: 262_144 }
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
    onStream: (stream) => accepted.resolve(stream),
  })
  await edge.ready
  session = { id: 's', muxer: edge, isAlive: () => isHeard, drop: (error) => edge.close(error) }
})

afterEach(() => session.muxer.close())

function make(more: Partial<PortCall> = {}): Promise<Response> {
  const request = new Request(...portRequest({ ...call, ...more }, null))
  return portCall(() => session, readPortCall(request), request, clock)
}

async function errorOf(response: Promise<Response>): Promise<unknown> {
  const answered = await response
  expect(answered.headers.get('x-portico-outcome')).toBe('error')
  return answered.json()
}

describe('time', () => {
  test('a server has five minutes for its head, and not one second more', async () => {
    const pending = make()
    const stream = await accepted.promise
    await clock.advance(299_999)
    await clock.advance(10_001)
    expect(await errorOf(pending)).toMatchObject({ code: 'deadline' })
    expect(await stream.done).toMatchObject({ code: 'deadline' })
  })

  test('an answer that has begun may be silent for a day, as long as its runner is heard', async () => {
    const pending = make()
    const stream = await accepted.promise
    answer(stream, { status: 200, headers: [['content-type', 'text/event-stream']] })
    const reader = (await pending).body?.getReader()
    for (let hour = 0; hour < 24; hour++) await clock.advance(3_600_000)
    await stream.write(new TextEncoder().encode('late'))
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('late')
    isHeard = false
    const read = reader?.read()
    const broken = expect(read).rejects.toThrow()
    await clock.advance(10_000)
    await broken
  })
})

describe('a socket', () => {
  async function opened() {
    const pending = make({ op: 'port.socket' })
    const stream = await accepted.promise
    answer(stream, { status: 101, headers: [], protocol: null })
    const socket = (await pending).webSocket as WebSocket
    const closed = Promise.withResolvers<number>()
    socket.addEventListener('close', ({ code }) => closed.resolve(code))
    socket.accept()
    return { stream, socket, closed: closed.promise }
  }

  test('is closed when more waits for its server than may', async () => {
    const { stream, socket, closed } = await opened()
    const mebibytes = new Uint8Array(8 * 1024 * 1024)
    for (let sent = 0; sent < 7; sent++) socket.send(mebibytes)
    expect(await closed).toBe(1013)
    expect(await stream.done).toMatchObject({ code: 'overloaded' })
  })

  test('of a server that does not say goodbye is given up after a while', async () => {
    const { stream, socket } = await opened()
    socket.close(1000, 'bye')
    const decoder = new PortMessageDecoder()
    expect(decoder.push((await stream.read()) ?? new Uint8Array())).toEqual([
      { kind: 'close', code: 1000, reason: 'bye' },
    ])
    expect(await stream.read()).toBeUndefined()
    await clock.advance(10_000)
    expect(await stream.done).toMatchObject({ code: 'cancelled' })
  })

  test('ends for good when both have said goodbye', async () => {
    const { stream, closed } = await opened()
    await stream.write(encodePortMessage({ kind: 'close', code: 1005, reason: '' }))
    stream.end()
    expect(await closed).toBe(1005)
    expect(await stream.read()).toBeUndefined()
    expect(await stream.done).toBeUndefined()
  })
})
