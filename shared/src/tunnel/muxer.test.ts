/** The connection: start, ids, limits, go-away, end. Streams are in `stream.test.ts`. */

import { describe, expect, test } from 'vitest'
import { FakeClock } from '../clock.ts'
import { AppError, type WireError } from '../errors.ts'
import { link, turn } from '../testing/link.ts'
import { creditFrame, frame, ScriptedPeer } from '../testing/scripted-peer.ts'
import { fromHex, vectors } from '../testing/vectors.ts'
import { encode } from './encode.ts'
import { frameType } from './frame.ts'
import { helloLimitMs, maxHead, maxMessage, maxStreams } from './limits.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const error: WireError = { code: 'overloaded', message: 'cannot take more: shutting down' }

async function greeted(options: ConstructorParameters<typeof ScriptedPeer>[0] = {}): Promise<ScriptedPeer> {
  const peer = new ScriptedPeer(options)
  await peer.greet()
  return peer
}

describe('starting', () => {
  test('both sides learn the other from its hello', async () => {
    const { edge, runner } = link({ window: 20_000 }, { window: 30_000 })
    expect(await edge.ready).toEqual({ generation: 1, role: 'runner', window: 30_000 })
    expect(await runner.ready).toEqual({ generation: 1, role: 'edge', window: 20_000 })
  })

  test('no stream is opened before the hello of the peer, then in order', async () => {
    const peer = new ScriptedPeer()
    for (const text of ['a', 'b', 'c']) peer.muxer.open(new TextEncoder().encode(text))
    await turn()
    expect(peer.frames).toEqual([])
    await peer.greet()
    expect(peer.take(type.open).map(([id, head]) => [id, Buffer.from(head).toString()])).toEqual([
      [2, 'a'],
      [4, 'b'],
      [6, 'c'],
    ])
  })

  test('a first frame that is no hello ends the connection', async () => {
    const peer = new ScriptedPeer()
    await peer.send(frame(type.ping, 0, new Uint8Array(8)))
    expect(peer.closes.map((one) => one?.code)).toEqual(['protocol_error'])
    await expect(peer.muxer.ready).rejects.toThrow('the first frame is no hello')
  })

  test('a generation that nobody speaks any more is told and refused', async () => {
    const peer = new ScriptedPeer()
    await peer.greet({ generation: 0 })
    expect(JSON.parse(Buffer.from(peer.take(type.goaway)[0]?.[1] ?? '').toString()).code).toBe('version_unsupported')
    expect(peer.closes[0]?.code).toBe('version_unsupported')
  })

  test('a hello that does not come in time ends the connection', async () => {
    const clock = new FakeClock()
    const peer = new ScriptedPeer({ clock })
    await clock.advance(helloLimitMs - 1)
    expect(peer.closes).toEqual([])
    await clock.advance(1)
    expect(peer.closes.map((one) => one?.code)).toEqual(['edge_disconnected'])
    expect(clock.pending).toBe(0)
  })

  test('a hello in time leaves no timer', async () => {
    const clock = new FakeClock()
    await greeted({ clock })
    expect(clock.pending).toBe(0)
  })
})

describe('what a peer may do wrong', () => {
  for (const { name, hex, expect: expected } of vectors.sessions)
    test(`${name}: ${expected.connectionError ? 'the connection ends' : `${expected.resets?.length} resets`}`, async () => {
      const peer = await greeted({ onStream: () => undefined })
      await peer.sendBytes(fromHex(hex))
      if (expected.connectionError) expect(peer.closes.map((one) => one?.code)).toEqual(['protocol_error'])
      else {
        expect(peer.closes).toEqual([])
        expect(peer.takeResets()).toEqual(expected.resets)
      }
    })

  test('an acceptor that answers twice, or sends before it answers, loses its stream only', async () => {
    const peer = await greeted()
    const streams = [0, 1, 2, 3].map(() => peer.muxer.open())
    await turn()
    await peer.send(frame(type.open, 2), frame(type.open, 2), frame(type.data, 4, 'x'), frame(type.end, 6))
    expect(peer.takeResets()).toEqual([2, 4, 6].map((stream) => ({ stream, code: 'protocol_error' })))
    expect(peer.closes).toEqual([])
    expect(peer.muxer.openStreams).toBe(1)
    expect((await streams[0]?.done)?.code).toBe('protocol_error')
  })

  test('on a carrier of messages a cut frame ends the connection', async () => {
    const peer = await greeted({ messages: true, onStream: () => undefined })
    await peer.sendBytes(encode(frame(type.open, 1)).subarray(0, 7))
    expect(peer.closes.map((one) => one?.code)).toEqual(['protocol_error'])
  })

  test('on a byte stream the same cut means nothing', async () => {
    const opened: number[] = []
    const peer = await greeted({ onStream: (stream) => opened.push(stream.id) })
    const bytes = encode(frame(type.open, 1))
    await peer.sendBytes(bytes.subarray(0, 7))
    await peer.sendBytes(bytes.subarray(7))
    expect(opened).toEqual([1])
  })
})

describe('limits', () => {
  test('a peer may have 1,024 streams open, and one more is refused alone', async () => {
    const streams: TunnelStream[] = []
    const peer = await greeted({ onStream: (stream) => streams.push(stream) })
    const opens = Array.from({ length: maxStreams + 1 }, (_, index) => frame(type.open, 2 * index + 1))
    await peer.send(...opens)
    expect(streams.length).toBe(maxStreams)
    expect(peer.takeResets()).toEqual([{ stream: 2 * maxStreams + 1, code: 'too_many_streams' }])
    streams[7]?.reset(error)
    await peer.send(frame(type.open, 2 * maxStreams + 3))
    expect(streams.length).toBe(maxStreams + 1)
  })

  test('this side opens 1,024 streams and not one more', async () => {
    const peer = await greeted()
    const streams = Array.from({ length: maxStreams }, () => peer.muxer.open())
    expect(() => peer.muxer.open()).toThrow(`cannot open a stream: ${maxStreams} are open`)
    streams[0]?.reset(error)
    expect(peer.muxer.open().id).toBeGreaterThan(0)
  })

  test('the streams of one opener do not count against the other', async () => {
    const peer = await greeted({ onStream: () => undefined })
    await peer.send(...Array.from({ length: maxStreams }, (_, index) => frame(type.open, 2 * index + 1)))
    expect(peer.muxer.open().id).toBe(2)
  })

  test('a head of 64 KiB goes through and one byte more is refused here', async () => {
    const heads: number[] = []
    const { edge } = link({}, { onStream: (_, head) => heads.push(head.length) })
    edge.open(new Uint8Array(maxHead))
    expect(() => edge.open(new Uint8Array(maxHead + 1))).toThrow('over 65536')
    await turn()
    expect(heads).toEqual([maxHead])
  })

  test('ids that are used up are told by a go-away', async () => {
    const peer = new ScriptedPeer({
      resume: { peer: { generation: 1, role: 'edge', window: 16_384 }, firstId: 0x7fff_fffe },
    })
    expect(peer.muxer.open().id).toBe(0x7fff_fffe)
    expect(() => peer.muxer.open()).toThrow('used up its ids')
    await turn()
    expect(peer.take(type.goaway)).toHaveLength(1)
  })
})

describe('go-away', () => {
  test('new streams of the peer are refused with its code, open ones finish', async () => {
    const accepted: TunnelStream[] = []
    const peer = await greeted({ onStream: (stream) => accepted.push(stream) })
    await peer.send(frame(type.open, 1))
    peer.muxer.goAway(error)
    peer.muxer.goAway({ code: 'internal', message: 'cannot: twice' })
    await peer.send(frame(type.open, 3), frame(type.data, 1, 'still'))
    expect(peer.take(type.goaway)).toHaveLength(1)
    expect(peer.takeResets()).toEqual([{ stream: 3, code: 'overloaded' }])
    expect(Buffer.from((await accepted[0]?.read()) ?? '').toString()).toBe('still')
  })

  test('after the go-away of the peer this side opens none, and its owner is told once', async () => {
    const told: WireError[] = []
    const peer = await greeted({ onGoAway: (why) => told.push(why) })
    await peer.send(frame(type.goaway, 0, error), frame(type.goaway, 0, error))
    expect(told).toEqual([error])
    expect(() => peer.muxer.open()).toThrow(expect.objectContaining({ code: 'overloaded' }))
  })

  test('drained resolves when the last stream is over', async () => {
    const { edge } = link({}, { onStream: (stream) => stream.accept() })
    await edge.drained()
    const stream = edge.open()
    let isDrained = false
    const drained = edge.drained().then(() => {
      isDrained = true
    })
    await turn()
    expect(isDrained).toBe(false)
    stream.reset(error)
    await drained
  })
})

describe('the end', () => {
  test('open streams end with the code of the connection, and the carrier is closed once', async () => {
    const { edge, runner, toRunner } = link({}, { onStream: (stream) => stream.accept() })
    const stream = edge.open()
    await stream.head()
    const waiting = [stream.read(), stream.write(new Uint8Array(1_000_000))].map((one) => one.catch((why) => why.code))
    edge.close()
    edge.close(new AppError('internal', 'cannot: late'))
    expect(await Promise.all(waiting)).toEqual(['runner_disconnected', 'runner_disconnected'])
    expect((await stream.done)?.message).toBe('cannot use the connection to the runner: it ended')
    expect(await edge.closed).toBeUndefined()
    expect(toRunner.closes).toEqual([undefined])
    expect(edge.openStreams).toBe(0)
    expect(() => edge.open()).toThrow('it has ended')
    runner.close()
    expect(runner.openStreams).toBe(0)
  })

  test('an error of its own reaches the streams and the owner', async () => {
    const { edge, toRunner } = link()
    const stream = edge.open()
    const why = new AppError('moved', 'cannot stay: moved')
    edge.close(why)
    expect(await stream.done).toBe(why)
    expect(await edge.closed).toBe(why)
    expect(toRunner.closes).toEqual([why])
  })

  test('what waits to be sent leaves before a planned end', async () => {
    const peer = await greeted()
    const stream = peer.muxer.open()
    stream.write(new TextEncoder().encode('last')).catch(() => undefined)
    peer.muxer.goAway(error)
    peer.muxer.close()
    expect(peer.frames.map((one) => one.type)).toEqual([type.goaway, type.open, type.data])
  })

  test('a carrier that throws ends the connection and nothing else', async () => {
    const peer = new ScriptedPeer({
      carrier: {
        send() {
          throw new Error('EPIPE')
        },
        close() {
          throw new Error('closed already')
        },
      },
    })
    const ended = await peer.muxer.closed
    expect(ended?.message).toBe('cannot use the connection to the edge: sending failed')
    expect((ended?.cause as Error).message).toBe('EPIPE')
  })

  test('frames after the end are ignored', async () => {
    const opened: number[] = []
    const peer = await greeted({ onStream: (stream) => opened.push(stream.id) })
    peer.muxer.close()
    await peer.send(frame(type.open, 1))
    expect(opened).toEqual([])
  })

  test('an owner that ends the connection inside a handler sees no more frames', async () => {
    const opened: number[] = []
    const peer: ScriptedPeer = await greeted({
      onStream: (stream) => {
        opened.push(stream.id)
        peer.muxer.close()
      },
    })
    await peer.send(frame(type.open, 1), frame(type.open, 3))
    expect(opened).toEqual([1])
  })

  test('a handler that throws loses its stream only, and nothing of its error goes over the wire', async () => {
    const peer = await greeted({
      onStream: () => {
        throw new Error('secret path')
      },
    })
    await peer.send(frame(type.open, 1))
    const [reset] = peer.take(type.reset)
    expect(Buffer.from(reset?.[1] ?? '').toString()).not.toContain('secret')
    expect(peer.closes).toEqual([])
  })

  test('streams of a side without a handler are refused', async () => {
    const peer = await greeted()
    await peer.send(frame(type.open, 1))
    expect(peer.takeResets()).toEqual([{ stream: 1, code: 'unsupported' }])
  })
})

describe('keeping alive', () => {
  const keepalive = (clock: FakeClock) => ({ keepalive: { idleMs: 15_000, limitMs: 10_000, clock } })

  test('silence is asked about, and ends the connection when the answer does not come', async () => {
    const clock = new FakeClock()
    const peer = await greeted(keepalive(clock))
    await clock.advance(14_999)
    expect(peer.take(type.ping)).toHaveLength(0)
    await clock.advance(1)
    expect(peer.take(type.ping)).toHaveLength(1)
    await clock.advance(9_999)
    expect(peer.closes).toEqual([])
    await clock.advance(1)
    expect(peer.closes.map((one) => one?.code)).toEqual(['edge_disconnected'])
    expect(clock.pending).toBe(0)
  })

  test('an answer starts the silence anew', async () => {
    const clock = new FakeClock()
    const peer = await greeted(keepalive(clock))
    for (let round = 0; round < 5; round++) {
      await clock.advance(15_000)
      expect(peer.take(type.ping), `round ${round}`).toHaveLength(1)
      await clock.advance(5_000)
      await peer.send(frame(type.pong, 0, new Uint8Array(8)))
    }
    expect(peer.closes).toEqual([])
  })

  test('a peer that is heard is not asked', async () => {
    const clock = new FakeClock()
    const peer = await greeted(keepalive(clock))
    for (let round = 0; round < 10; round++) {
      await clock.advance(14_000)
      await peer.send(frame(0x80, 0, 'x'))
    }
    expect(peer.take(type.ping)).toHaveLength(0)
    peer.muxer.close()
    expect(clock.pending).toBe(0)
  })

  test('a ping is answered with its own bytes', async () => {
    const peer = await greeted()
    await peer.send(frame(type.ping, 0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)))
    expect(peer.take(type.pong)).toEqual([[0, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)]])
  })
})

describe('an owner that sleeps', () => {
  const peerHello = { generation: 1, role: 'edge', window: 16_384 } as const

  test('takes up the connection without a hello, and uses no id twice', async () => {
    const reserved: number[] = []
    const before = await greeted({ onReserve: (firstId) => reserved.push(firstId) })
    const ids = Array.from({ length: 600 }, () => {
      const stream = before.muxer.open()
      stream.reset(error)
      return stream.id
    })
    expect(reserved.length).toBe(3)
    const after = new ScriptedPeer({ resume: { peer: peerHello, firstId: reserved.at(-1) ?? 0 } })
    const id = after.muxer.open().id
    expect(id).toBeGreaterThan(Math.max(...ids))
    await turn()
    expect(after.hello).toBeUndefined()
    expect(after.take(type.open).map(([stream]) => stream)).toEqual([id])
    expect(await after.muxer.ready).toEqual(peerHello)
  })

  test('reserves before it uses: an id in use is always below what was reserved', async () => {
    let reserved = 0
    const peer = await greeted({ onReserve: (firstId) => (reserved = firstId) })
    for (let count = 0; count < 2000; count++) {
      const stream = peer.muxer.open()
      expect(stream.id).toBeLessThan(reserved)
      stream.reset(error)
    }
  })

  test('skips frames of streams from before, and tells acceptors that nobody waits', async () => {
    const peer = new ScriptedPeer({ resume: { peer: peerHello, firstId: 1026 }, onStream: () => undefined })
    await peer.send(frame(type.end, 4), creditFrame(6, 10), frame(type.end, 7), frame(type.data, 9, 'x'))
    expect(peer.frames).toEqual([])
    await peer.send(frame(type.open, 8), frame(type.data, 10, 'x'))
    expect(peer.takeResets()).toEqual([8, 10].map((stream) => ({ stream, code: 'cancelled' })))
    expect(peer.closes).toEqual([])
  })

  test('takes new streams of the peer', async () => {
    const opened: number[] = []
    const peer = new ScriptedPeer({
      resume: { peer: peerHello, firstId: 1026 },
      onStream: (stream) => opened.push(stream.id),
    })
    await peer.send(frame(type.open, 77), frame(type.end, 77))
    expect(opened).toEqual([77])
  })

  test('an id of its own that it never reserved is still an error', async () => {
    const peer = new ScriptedPeer({ resume: { peer: peerHello, firstId: 1026 } })
    await peer.send(frame(type.end, 1026))
    expect(peer.closes.map((one) => one?.code)).toEqual(['protocol_error'])
  })
})

describe('the carrier', () => {
  test('gets the frames of one turn in one message', async () => {
    const peer = await greeted()
    const before = peer.sends
    for (let count = 0; count < 50; count++) peer.muxer.open().end()
    await turn()
    expect(peer.sends - before).toBe(1)
    expect(peer.take(type.open)).toHaveLength(50)
  })

  test('gets messages of at most 1 MiB, whole frames each', async () => {
    const { edge, toRunner } = link({ messages: true }, { messages: true, window: 4_194_304 })
    await edge.ready
    toRunner.auto = false
    for (let count = 0; count < 3; count++) {
      edge.open(new Uint8Array(maxHead)).write(new Uint8Array(2_000_000)).catch(() => undefined)
    }
    await turn()
    expect(toRunner.messages.length).toBeGreaterThanOrEqual(6)
    expect(Math.max(...toRunner.messages.map((message) => message.length))).toBeLessThanOrEqual(maxMessage)
    expect(Math.min(...toRunner.messages.slice(0, -1).map((message) => message.length))).toBeGreaterThan(800_000)
  })

  test('may keep a message: it is never written to again', async () => {
    const { edge, toRunner } = link({}, { window: 4_194_304 })
    await edge.ready
    toRunner.auto = false
    const copies: Buffer[] = []
    for (let round = 0; round < 40; round++) {
      edge.open(new Uint8Array(round * 50).fill(round)).end()
      await turn()
      copies.push(Buffer.from(toRunner.messages.at(-1) ?? ''))
    }
    expect(toRunner.messages.map((message) => Buffer.from(message))).toEqual(copies)
  })

  test('that is full gets nothing until it has room, and then all in order', async () => {
    const received: string[] = []
    const onStream = async (stream: TunnelStream) => {
      stream.accept()
      for (let bytes = await stream.read(); bytes; bytes = await stream.read()) received.push(Buffer.from(bytes).toString())
    }
    const { edge, toRunner } = link({}, { onStream: (stream) => void onStream(stream) })
    await edge.ready
    toRunner.auto = false
    const release = toRunner.fill()
    const stream = edge.open()
    await turn()
    const [opened] = toRunner.messages
    expect(opened).toBeDefined()
    stream.write(new TextEncoder().encode('one')).catch(() => undefined)
    stream.end()
    await turn()
    expect(toRunner.messages.length).toBe(1)
    release()
    await turn()
    while (toRunner.messages.length > 0) toRunner.deliver()
    await turn()
    expect(received).toEqual(['one'])
  })

  test('that fails while it is full ends the connection', async () => {
    const peer = new ScriptedPeer({
      carrier: { send: () => undefined, close: () => undefined, full: () => Promise.reject(new Error('ECONNRESET')) },
    })
    expect((await peer.muxer.closed)?.code).toBe('edge_disconnected')
  })

  test('that nobody reads at the other end cannot be made to hold answers without limit', async () => {
    const peer = await greeted()
    peer.stopReading()
    const opens = (from: number) => Array.from({ length: 1000 }, (_, index) => frame(type.open, from + 2 * index))
    for (let round = 0; round < 50 && peer.closes.length === 0; round++) await peer.send(...opens(1 + 2000 * round))
    expect(peer.closes.map((one) => one?.code)).toEqual(['overloaded'])
  })

  test('that nobody reads gets one answer to any number of pings', async () => {
    const peer = await greeted()
    const readOn = peer.stopReading()
    for (let count = 0; count <= 100; count++) await peer.send(frame(type.ping, 0, new Uint8Array(8).fill(count)))
    expect(peer.take(type.pong).map(([, payload]) => payload[0])).toEqual([0])
    readOn()
    await turn()
    expect(peer.take(type.pong).map(([, payload]) => payload[0])).toEqual([100])
  })
})
