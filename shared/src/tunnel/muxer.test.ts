/** The connection: start, limits, go-away, end. Streams are in `stream.test.ts`. */

import { describe, expect, test } from 'vitest'
import { link, turn } from '../../testing/link.ts'
import { creditFrame, frame, greeted, ScriptedPeer } from '../../testing/scripted-peer.ts'
import { fromHex, vectors } from '../../testing/vectors.ts'
import { FakeClock } from '../clock.ts'
import { AppError, type WireError } from '../errors.ts'
import { encode } from './encode.ts'
import { frameType } from './frame.ts'
import { helloLimitMs, maxHead, maxStreams } from './limits.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const error: WireError = { code: 'overloaded', message: 'cannot take more: shutting down' }

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
    test(`${name}: ${JSON.stringify(expected)}`, async () => {
      const peer = await greeted({ onStream: () => undefined, holds: true })
      await peer.sendBytes(fromHex(hex))
      expect(peer.closes.map((one) => one?.code)).toEqual(expected.connectionError ? ['protocol_error'] : [])
      if (!expected.connectionError) expect(peer.takeResets()).toEqual(expected.resets ?? [])
      if (expected.paused) expect(peer.frames).toEqual([{ type: type.paused, stream: 0, payload: new Uint8Array(0) }])
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

  test('what crosses the end of a stream on the way is skipped without an answer', async () => {
    const peer = await greeted()
    const stream = peer.muxer.open()
    await turn()
    stream.reset(error)
    await turn()
    peer.frames.length = 0
    await peer.send(frame(type.open, 2), frame(type.data, 2, 'x'), creditFrame(2, 1), frame(type.end, 2))
    await peer.send(frame(type.reset, 2, error))
    expect([peer.frames, peer.closes]).toEqual([[], []])
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

  test('the highest id of all is used', () => {
    const resume = { peer: { generation: 1, role: 'runner', window: 16_384 }, firstId: 0x7fff_ffff } as const
    const { muxer } = new ScriptedPeer({ opens: 'odd', resume })
    expect(muxer.open().id).toBe(0x7fff_ffff)
    expect(() => muxer.open()).toThrow('used up its ids')
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
    expect(ended?.cause).toMatchObject({ message: 'EPIPE' })
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
