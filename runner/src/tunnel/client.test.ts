import { FakeClock } from '@portico/shared/clock'
import type { Muxer } from '@portico/shared/tunnel'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { TunnelClient } from './client.ts'
import { ScriptedEdge } from './scripted-edge.ts'

let edge: ScriptedEdge
let client: TunnelClient | undefined
const clock = new FakeClock()
let connections: { muxer: Muxer; signal: AbortSignal }[]

beforeEach(async () => {
  edge = await ScriptedEdge.start()
  connections = []
})
afterEach(async () => {
  const stopped = client?.stop(0)
  await until(() => client?.state === undefined || client.state === 'ended')
  await stopped
  client = undefined
  await edge.close()
})

function connect(url = edge.url): TunnelClient {
  client = new TunnelClient({
    url,
    token: 'token-of-runner',
    clock,
    log: silentLog(),
    random: () => 0,
    onStream: (stream, head) => {
      stream.accept(head)
      stream.end()
    },
    onReady: (muxer, signal) => connections.push({ muxer, signal }),
  })
  return client
}

/** Waits for the event loop, moving the clock by little: sockets are real, delays are not. */
async function until(condition: () => boolean, stepMs = 5): Promise<void> {
  while (!condition()) {
    await new Promise((turn) => setImmediate(turn))
    await clock.advance(stepMs)
  }
}

it('connects with its token and says hello', async () => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready')
  expect(edge.tokens).toEqual(['Bearer token-of-runner'])
  expect(await connections[0]?.muxer.ready).toMatchObject({ role: 'edge' })
  expect(await edge.muxer.ready).toMatchObject({ role: 'runner', generation: 2 })
})

it('opens even ids and answers the streams of the edge', async () => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready')
  const stream = edge.muxer.open(Buffer.from('hello'))
  expect(Buffer.from(await stream.head()).toString()).toBe('hello')
  expect((connections[0]?.muxer.open().id ?? 1) % 2).toBe(0)
})

it.each([
  ['is cut', (one: ScriptedEdge) => one.cut()],
  ['is closed by the edge', (one: ScriptedEdge) => one.hangUp()],
  ['is closed for a fault', (one: ScriptedEdge) => one.hangUp(1002)],
])('comes back when the connection %s', async (_what, end) => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready')
  const open = connections[0]?.muxer.open()
  end(edge)
  await until(() => connections.length === 2)
  expect(connections[0]?.signal.aborted).toBe(true)
  expect(await open?.done).toMatchObject({ code: 'edge_disconnected' })
  expect(tunnel.state).toBe('ready')
})

it('tries again and again while nothing listens, not longer apart than 1.5 s', async () => {
  const { url } = edge
  await edge.close()
  const tunnel = connect(url)
  await until(() => tunnel.state === 'closed')
  for (let round = 0; round < 8; round++) {
    await clock.advance(1500)
    await until(() => tunnel.state === 'closed', 0)
  }
  edge = await ScriptedEdge.start()
})

it('waits long after the edge has refused its token', async () => {
  edge.script.refuse = 401
  const tunnel = connect()
  await until(() => tunnel.state === 'closed', 0)
  edge.script.refuse = undefined
  await clock.advance(14_000)
  expect(edge.tokens).toHaveLength(1)
  await clock.advance(1000)
  await until(() => tunnel.state === 'ready')
  expect(edge.tokens).toHaveLength(2)
})

it('comes back soon after any other refusal', async () => {
  edge.script.refuse = 503
  const tunnel = connect()
  await until(() => tunnel.state === 'closed', 0)
  edge.script.refuse = undefined
  await clock.advance(100)
  await until(() => tunnel.state === 'ready')
})

it('asks after 15 s of silence and stays while it is answered', async () => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready', 0)
  await clock.advance(15_000)
  await edge.until(() => edge.texts.length === 1)
  expect(edge.texts).toEqual(['ping'])
  await until(() => false || tunnel.state === 'ready', 0)
  expect(connections).toHaveLength(1)
})

it('gives up a connection on which nothing comes', async () => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready', 0)
  edge.script.mute = true
  await clock.advance(15_000)
  await clock.advance(10_000)
  edge.script.mute = false
  expect(connections[0]?.signal.aborted).toBe(true)
  await until(() => connections.length === 2)
})

it('says goodbye and lets open streams finish when it is stopped', async () => {
  const tunnel = connect()
  await until(() => tunnel.state === 'ready', 0)
  const stream = connections[0]?.muxer.open(Buffer.from('{"op":"runner.status"}'))
  stream?.end()
  const stopped = tunnel.stop(60_000)
  expect(tunnel.state).toBe('draining')
  await edge.until(() => edge.goneAway !== undefined)
  await until(() => tunnel.state === 'ended', 0)
  await stopped
})

it('does not wait for open streams longer than it is told to', async () => {
  edge.script.onCall = () => undefined
  const tunnel = connect()
  await until(() => tunnel.state === 'ready', 0)
  const stream = edge.muxer.open()
  await stream.head()
  connections[0]?.muxer.open()
  const stopped = tunnel.stop(1000)
  await clock.advance(1000)
  await until(() => tunnel.state === 'ended', 0)
  await stopped
})

it('stops at once where there is no connection, and leaves no timer', async () => {
  edge.script.mute = true
  const tunnel = connect()
  await edge.until(() => edge.tokens.length === 1)
  await tunnel.stop(1000)
  expect(tunnel.state).toBe('ended')
  const before = clock.pending
  await clock.advance(60_000)
  expect(before - clock.pending).toBeLessThanOrEqual(1)
})
