import { systemClock } from '@portico/shared/clock'
import { type SandboxEventMessage, sandboxEvent } from '@portico/shared/control'
import { answer, parseHead, type TunnelStream } from '@portico/shared/tunnel'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { EventOutbox } from './outbox.ts'
import { ScriptedEdge } from './scripted-edge.ts'
import { counter } from './sequence.ts'
import { Tunnel } from './tunnel.ts'

const session = 'abcdefghijklmnopqrstuvwxyz'
const never = new AbortController().signal

let edge: ScriptedEdge
let tunnel: Tunnel
let opened: number

beforeEach(async () => {
  opened = 0
  edge = await ScriptedEdge.start()
})
afterEach(async () => {
  await tunnel.stop(0)
  await edge.close()
})

function connect(sockets: number): Tunnel {
  tunnel = new Tunnel({
    url: edge.url,
    token: 'token',
    session,
    sockets,
    clock: systemClock,
    log: silentLog(),
    random: () => 0,
    onStream: (stream, head) => {
      stream.accept(head)
      stream.end()
    },
    onOpen: () => opened++,
  })
  return tunnel
}

/** So many sockets are open, and both sides know. */
async function open(count: number): Promise<void> {
  await edge.until(() => edge.links.length === count)
  await Promise.all(edge.links.map(({ muxer }) => muxer.ready))
  await expect.poll(() => tunnel.sockets).toBe(count)
}

it('opens its sockets for one session, each with its number', async () => {
  connect(3)
  await open(3)
  const said = edge.upgrades.map((headers) => [headers['portico-session'], headers['portico-socket']])
  expect(said.sort()).toEqual([0, 1, 2].map((index) => [session, `${index}/3`]))
  expect(opened).toBe(3)
})

it('opens one alone to an edge of generation 1', async () => {
  edge.script.generation = 1
  connect(3)
  await open(1)
  const line = await tunnel.line(never)
  await line.muxer
    .open()
    .head()
    .catch(() => undefined)
  expect(edge.upgrades).toHaveLength(1)
})

it('goes back to one when the edge goes back to generation 1', async () => {
  connect(2)
  await open(2)
  edge.script.generation = 1
  for (const { socket } of [...edge.links]) socket.terminate()
  await edge.until(() => edge.links.length === 0)
  await expect.poll(() => [tunnel.connected, edge.links.length]).toEqual([true, 1])
})

it('goes on over the others when one is cut, and opens it again by itself', async () => {
  connect(2)
  await open(2)
  const [first, second] = edge.links
  const theirs = second?.muxer.open(Buffer.from('on the other'))
  first?.socket.terminate()
  await expect.poll(() => tunnel.sockets).toBe(1)
  expect(tunnel.connected).toBe(true)
  expect(Buffer.from((await theirs?.head()) ?? []).toString()).toBe('on the other')
  await open(2)
  expect(edge.links.map(({ index }) => index).sort()).toEqual(['0/2', '1/2'])
  expect(edge.links).toContain(second)
})

it('gives who has something to tell the socket with the fewest open streams', async () => {
  edge.script.onCall = () => undefined
  connect(2)
  await open(2)
  const status = Buffer.from('{"op":"sandbox.event","sandbox":"a","generation":1,"state":"running"}')
  const first = await tunnel.line(never)
  first.muxer.open(status)
  const second = await tunnel.line(never)
  expect(second.muxer).not.toBe(first.muxer)
})

it('begins nothing new on a socket whose edge said goodbye, and replaces it once its calls are over', async () => {
  const held = Promise.withResolvers<TunnelStream>()
  edge.script.onCall = (_call, stream) => held.resolve(stream)
  connect(2)
  await open(2)
  const status = Buffer.from('{"op":"sandbox.event","sandbox":"a","generation":1,"state":"running"}')
  const line = await tunnel.line(never)
  const call = line.muxer.open(status)
  call.end()
  const stream = await held.promise
  const link = edge.links.find(({ muxer }) => muxer.openStreams > 0)
  link?.muxer.goAway({ code: 'no_runner', message: 'cannot take more: it moves' })
  await expect.poll(() => tunnel.sockets).toBe(1)
  expect((await tunnel.line(never)).muxer).not.toBe(line.muxer)
  answer(stream)
  stream.end()
  expect(Buffer.from(await call.head()).toString()).toBe('{"ok":true}')
  await edge.until(() => edge.upgrades.length === 3)
  await open(2)
})

it('waits for a socket where none is open, until the signal says otherwise', async () => {
  edge.script.mute = true
  connect(2)
  const given = new AbortController()
  const waiting = tunnel.line(given.signal)
  given.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
})

/** What happens: a sandbox changes, or a socket (of those open, counted around) is cut before or after the edge has taken what is said next. */
const happening = fc.oneof(
  fc.record({ kind: fc.constant('event' as const), sandbox: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ kind: fc.constant('cut' as const), socket: fc.nat(1) }),
  fc.record({ kind: fc.constant('cut when told' as const), after: fc.boolean() }),
)

it('loses no event and changes no order while sockets are cut', async () => {
  await edge.close()
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 25 }), async (happenings) => {
      const heard: SandboxEventMessage[] = []
      const cuts: boolean[] = []
      edge = await ScriptedEdge.start({
        onCall: (call, stream) => {
          const cut = cuts.shift()
          const link = edge.links.find(({ muxer }) => muxer.openStreams > 0)
          if (cut === false) return link?.socket.terminate()
          heard.push(parseHead(Buffer.from(JSON.stringify(call)), sandboxEvent))
          if (cut === true) return link?.socket.terminate()
          answer(stream)
          stream.end()
        },
      })
      connect(2)
      const over = new AbortController()
      const outbox = new EventOutbox(systemClock, silentLog(), counter())
      const delivering = outbox.deliver(tunnel, over.signal)
      const last = new Map<string, number>()
      for (const [turn, one] of happenings.entries()) {
        if (one.kind === 'cut') edge.links[one.socket]?.socket.terminate()
        else if (one.kind === 'cut when told') cuts.push(one.after)
        else {
          last.set(one.sandbox, turn)
          outbox.add({ op: 'sandbox.event', sandbox: one.sandbox, generation: turn, state: 'running' })
        }
        for (let round = 0; round < turn % 4; round++) await new Promise((next) => setImmediate(next))
      }
      cuts.splice(0)
      await outbox.emptied()
      over.abort()
      await delivering
      for (const [sandbox, turn] of last) {
        const told = heard.filter((event) => event.sandbox === sandbox).map(({ generation }) => generation)
        expect(told).toEqual([...told].sort((one, other) => one - other))
        expect(told.at(-1)).toBe(turn)
      }
      await tunnel.stop(0)
      await edge.close()
    }),
    { numRuns: 25, seed: 41 },
  )
}, 60_000)
