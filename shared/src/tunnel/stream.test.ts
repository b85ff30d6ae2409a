/** One stream: halves, credit, reset, order; and what one stream may do to the others. */

import { describe, expect, test } from 'vitest'
import type { WireError } from '../errors.ts'
import { type EndOptions, link, turn } from '../testing/link.ts'
import { creditFrame, frame, ScriptedPeer } from '../testing/scripted-peer.ts'
import { decode } from './decode.ts'
import { readU32 } from './encode.ts'
import { frameType } from './frame.ts'
import { maxData } from './limits.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString()
const error: WireError = { code: 'cancelled', message: 'cannot go on: the caller went away' }

/** A stream opened at the edge and accepted at the runner. */
async function pair(edgeOptions: EndOptions = {}, runnerOptions: EndOptions = {}) {
  const opened = Promise.withResolvers<TunnelStream>()
  const ends = link(edgeOptions, { onStream: (stream) => opened.resolve(stream), ...runnerOptions })
  const near = ends.edge.open(bytes('ask'))
  const far = await opened.promise
  far.accept(bytes('answer'))
  await near.head()
  return { ...ends, near, far }
}

async function readAll(stream: TunnelStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part; part = await stream.read()) parts.push(part)
  return Buffer.concat(parts)
}

/** A peer whose hello grants `window`, and a stream that it has answered. */
async function answered(window: number) {
  const peer = new ScriptedPeer()
  await peer.greet({ window })
  const stream = peer.muxer.open()
  await peer.send(frame(type.open, stream.id))
  peer.frames.length = 0
  return { peer, stream }
}

const sentBytes = (peer: ScriptedPeer) => peer.take(type.data).reduce((sum, [, payload]) => sum + payload.length, 0)
const caught = (promise: Promise<unknown>) => promise.then(() => 'fine', (why: { code: string }) => why.code)

describe('heads', () => {
  test('each side gets the other head', async () => {
    const { near, far } = await pair()
    expect(text(await far.head())).toBe('ask')
    expect(text(await near.head())).toBe('answer')
    expect(text(await near.head())).toBe('answer')
  })

  test('a stream that is reset before its answer rejects the wait for it', async () => {
    const { edge } = link({}, { onStream: (stream) => stream.reset(error) })
    const stream = edge.open()
    expect(await caught(stream.head())).toBe('cancelled')
    expect(await caught(stream.head())).toBe('cancelled')
  })

  test('only an acceptor accepts, once, and before it sends', async () => {
    const opened = Promise.withResolvers<TunnelStream>()
    const { edge } = link({}, { onStream: (stream) => opened.resolve(stream) })
    const near = edge.open()
    const far = await opened.promise
    expect(() => far.end()).toThrow('not accepted yet')
    expect(await caught(far.write(bytes('x')))).toBe('internal')
    far.accept()
    expect(() => far.accept()).toThrow('only its acceptor')
    expect(() => near.accept()).toThrow('only its acceptor')
  })

  test('accepting a stream that the opener has reset does nothing', async () => {
    const opened = Promise.withResolvers<TunnelStream>()
    const { edge } = link({}, { onStream: (stream) => opened.resolve(stream) })
    const near = edge.open()
    const far = await opened.promise
    near.reset(error)
    await far.done
    far.accept()
    far.end()
    await turn()
    expect(edge.openStreams).toBe(0)
  })

  test('the opener sends without waiting for the answer', async () => {
    const { edge } = link({}, { onStream: (stream) => void readAll(stream).then((all) => stream.accept(all)) })
    const stream = edge.open()
    await stream.write(bytes('early'))
    stream.end()
    expect(text(await stream.head())).toBe('early')
  })
})

describe('halves', () => {
  test('an end closes one direction; the other goes on', async () => {
    const { near, far, edge, runner } = await pair()
    near.end()
    near.end()
    expect(await far.read()).toBeUndefined()
    expect(await far.read()).toBeUndefined()
    await far.write(bytes('late'))
    far.end()
    expect(text(await near.read())).toBe('late')
    expect(await near.read()).toBeUndefined()
    expect(await near.done).toBeUndefined()
    expect(await far.done).toBeUndefined()
    expect([edge.openStreams, runner.openStreams]).toEqual([0, 0])
  })

  test('queued writes go before the end', async () => {
    const { near, far } = await pair()
    const writes = ['a', 'b', 'c'].map((one) => near.write(bytes(one)))
    near.end()
    expect(text(await readAll(far))).toBe('abc')
    await Promise.all(writes)
  })

  test('a write after the end is a mistake of the writer', async () => {
    const { near } = await pair()
    near.end()
    await expect(near.write(bytes('x'))).rejects.toThrow('this side of the stream has ended')
  })

  test('what arrived before the peer ended can be read after the stream is over', async () => {
    const { near, far } = await pair()
    near.end()
    await far.write(bytes('kept'))
    far.end()
    expect(await near.done).toBeUndefined()
    expect(text(await readAll(near))).toBe('kept')
  })

  test('an empty write waits its turn and sends no frame', async () => {
    const { peer, stream } = await answered(16_384)
    const order: string[] = []
    const writes = [bytes('a'), new Uint8Array(0), bytes('b')].map(async (one, index) => {
      await stream.write(one)
      order.push(String(index))
    })
    await Promise.all(writes)
    await stream.write(new Uint8Array(0))
    expect(order).toEqual(['0', '1', '2'])
    expect(peer.take(type.data).map(([, payload]) => text(payload))).toEqual(['ab'])
  })

  test('two readers at once are refused', async () => {
    const { near, far } = await pair()
    const first = near.read()
    await expect(near.read()).rejects.toThrow('another reader waits')
    await far.write(bytes('x'))
    expect(text(await first)).toBe('x')
  })
})

describe('reset', () => {
  test('ends both directions at both ends with its error', async () => {
    const { near, far, edge, runner } = await pair()
    const waiting = [near.write(new Uint8Array(200_000)), far.write(new Uint8Array(200_000))].map(caught)
    await turn()
    far.reset(error)
    far.reset({ code: 'internal', message: 'cannot: again' })
    expect(await Promise.all(waiting)).toEqual(['cancelled', 'cancelled'])
    for (const stream of [near, far]) expect((await stream.done)?.toWire()).toEqual(error)
    expect(await Promise.all([near.read(), near.write(bytes('x')), far.read()].map(caught))).toEqual(
      Array(3).fill('cancelled'),
    )
    expect([edge.openStreams, runner.openStreams]).toEqual([0, 0])
  })

  test('reaches readers that wait at both ends', async () => {
    const { near, far } = await pair()
    const waiting = [near.read(), far.read()].map(caught)
    near.reset(error)
    expect(await Promise.all(waiting)).toEqual(['cancelled', 'cancelled'])
  })

  test('what was buffered for the reader is dropped', async () => {
    const { near, far } = await pair()
    await far.write(bytes('lost'))
    await turn()
    far.reset(error)
    await near.done
    expect(await caught(near.read())).toBe('cancelled')
  })

  test('a stream that is over cannot be reset', async () => {
    const { near, far, toRunner } = await pair()
    near.end()
    far.end()
    await near.done
    toRunner.auto = false
    near.reset(error)
    await turn()
    expect(toRunner.messages).toEqual([])
    expect(await near.done).toBeUndefined()
  })

  test('a stream whose open was never sent is not told of', async () => {
    const peer = new ScriptedPeer()
    const first = peer.muxer.open()
    peer.muxer.open()
    first.reset(error)
    await peer.greet()
    expect(peer.frames.map((one) => [one.type, one.stream])).toEqual([[type.open, 4]])
  })

  test('an accepted stream that is reset in the same turn sends its reset only', async () => {
    const peer = new ScriptedPeer({
      onStream: (stream) => {
        stream.accept()
        stream.write(bytes('x')).catch(() => undefined)
        stream.reset(error)
      },
    })
    await peer.greet()
    await peer.send(frame(type.open, 1))
    expect(peer.frames.map((one) => one.type)).toEqual([type.reset])
  })

  test('rejections that nobody looks at do not reach the process', async () => {
    const { near } = await pair()
    void near.read()
    void near.write(new Uint8Array(1_000_000))
    void near.head()
    near.reset(error)
    void near.read()
    void near.write(bytes('x'))
    const { edge } = link()
    void edge.open().head()
    edge.close()
    await turn()
    await turn()
  })
})

describe('credit', () => {
  test('a sender stops at the window of the hello and goes on with credit, byte by byte', async () => {
    const { peer, stream } = await answered(16_384)
    let isDone = false
    const written = stream.write(new Uint8Array(16_384 + 10)).then(() => {
      isDone = true
    })
    await turn()
    expect(sentBytes(peer)).toBe(16_384)
    await peer.send(creditFrame(stream.id, 9))
    expect(sentBytes(peer)).toBe(9)
    expect(isDone).toBe(false)
    await peer.send(creditFrame(stream.id, 1))
    expect(sentBytes(peer)).toBe(1)
    await written
  })

  test('a write of exactly the window needs no credit', async () => {
    const { peer, stream } = await answered(16_384)
    await stream.write(new Uint8Array(16_384))
    stream.end()
    await turn()
    expect(peer.frames.map((one) => one.type)).toEqual([type.data, type.end])
  })

  test('the end waits for the bytes before it, not for credit', async () => {
    const { peer, stream } = await answered(16_384)
    stream.write(new Uint8Array(16_385)).catch(() => undefined)
    stream.end()
    await turn()
    expect(peer.take(type.end)).toHaveLength(0)
    await peer.send(creditFrame(stream.id, 1))
    expect(peer.take(type.end)).toHaveLength(1)
  })

  test('frames carry 64 KiB at most, and small writes of one turn share one', async () => {
    const { peer, stream } = await answered(1_000_000)
    await stream.write(new Uint8Array(maxData + 1))
    expect(peer.take(type.data).map(([, payload]) => payload.length)).toEqual([maxData, 1])
    await Promise.all([...'abcdef'].map((one) => stream.write(bytes(one))))
    expect(peer.take(type.data).map(([, payload]) => text(payload))).toEqual(['abcdef'])
  })

  test('a reader grants again what it consumed, once that is half of the window', async () => {
    const { peer, stream } = await answered(16_384)
    const credits = () => peer.take(type.credit).map(([, payload]) => readU32(payload, 0))
    await peer.send(frame(type.data, stream.id, new Uint8Array(8191)))
    expect(credits()).toEqual([])
    expect((await stream.read())?.length).toBe(8191)
    await turn()
    expect(credits()).toEqual([])
    await peer.send(frame(type.data, stream.id, new Uint8Array(1)))
    await stream.read()
    await turn()
    expect(credits()).toEqual([8192])
  })

  test('bytes that wait for no reader are not granted again', async () => {
    const { peer, stream } = await answered(16_384)
    await peer.send(frame(type.data, stream.id, new Uint8Array(16_384)))
    expect(peer.take(type.credit)).toEqual([])
    await stream.read()
    await turn()
    expect(peer.take(type.credit)).toHaveLength(1)
  })

  test('nothing is granted to a peer that has ended', async () => {
    const { peer, stream } = await answered(16_384)
    await peer.send(frame(type.data, stream.id, new Uint8Array(16_384)), frame(type.end, stream.id))
    expect((await readAll(stream)).length).toBe(16_384)
    await turn()
    expect(peer.take(type.credit)).toEqual([])
  })

  test('many times the window goes through a stream, in order', async () => {
    const { near, far } = await pair({ window: 16_384 }, { window: 20_000 })
    const whole = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 251))
    const written = near.write(whole).then(() => near.end())
    const got = await readAll(far)
    await written
    expect(got.equals(whole)).toBe(true)
  })
})

describe('streams beside each other', () => {
  test('a slow reader stops its own stream only', async () => {
    const streams: TunnelStream[] = []
    const { edge } = link({}, { window: 16_384, onStream: (stream) => streams.push(stream) })
    const slow = edge.open()
    const quick = edge.open()
    let slowIsDone = false
    const slowWrite = slow.write(new Uint8Array(100_000)).then(() => {
      slowIsDone = true
    })
    await turn()
    const quickWrite = quick.write(new Uint8Array(1_000_000)).then(() => quick.end())
    expect((await readAll(streams[1] as TunnelStream)).length).toBe(1_000_000)
    await quickWrite
    expect(slowIsDone).toBe(false)
    slow.end()
    expect((await readAll(streams[0] as TunnelStream)).length).toBe(100_000)
    await slowWrite
  })

  test('writes of many streams take turns, one frame each', async () => {
    const peer = new ScriptedPeer()
    await peer.greet({ window: 4_194_304 })
    for (let count = 0; count < 3; count++) peer.muxer.open().write(new Uint8Array(4 * maxData)).catch(() => undefined)
    await turn()
    expect(peer.take(type.data).map(([stream]) => stream)).toEqual([2, 4, 6, 2, 4, 6, 2, 4, 6, 2, 4, 6])
  })

  test('a stream that comes late waits for one frame of each, not for all that is queued', async () => {
    const { edge, toRunner } = link({ messages: true }, { messages: true, window: 4_194_304 })
    await edge.ready
    toRunner.auto = false
    const release = toRunner.fill()
    for (let count = 0; count < 4; count++) edge.open().write(new Uint8Array(4_000_000)).catch(() => undefined)
    await turn()
    const late = edge.open()
    late.write(bytes('late')).catch(() => undefined)
    release()
    await turn()
    const order = toRunner.messages.flatMap((message) => decode(message)).filter((one) => one.type === type.data)
    const first = order.findIndex((one) => one.stream === late.id)
    const before = order.slice(0, first).length
    // One message left before the carrier was full, then each of the four had at most one turn.
    expect(before).toBeLessThanOrEqual(16 + 4)
    expect(order.length).toBeGreaterThan(200)
  })

  test('streams that are over leave nothing behind', async () => {
    const onStream = (stream: TunnelStream) => {
      stream.accept()
      void readAll(stream).then(
        () => stream.end(),
        () => undefined,
      )
    }
    const { edge, runner } = link({}, { onStream })
    const done: Promise<unknown>[] = []
    for (let round = 0; round < 300; round++) {
      const stream = edge.open(bytes('head'))
      stream.write(new Uint8Array(1000)).catch(() => undefined)
      if (round % 3 === 0) stream.reset(error)
      else stream.end()
      done.push(stream.done)
      if (round % 50 === 0) await turn()
    }
    await Promise.all(done)
    await turn()
    expect([edge.openStreams, runner.openStreams]).toEqual([0, 0])
  })

  test('a peer that sends single bytes makes this side hold little more than those bytes', async () => {
    const { peer, stream } = await answered(16_384)
    for (let count = 0; count < 16; count++)
      await peer.send(...Array.from({ length: 1024 }, () => frame(type.data, stream.id, Uint8Array.of(count))))
    let pieces = 0
    let held = 0
    await peer.send(frame(type.end, stream.id))
    const buffers = new Set<ArrayBufferLike>()
    for (let part = await stream.read(); part; part = await stream.read()) {
      pieces++
      if (!buffers.has(part.buffer)) held += part.buffer.byteLength
      buffers.add(part.buffer)
    }
    expect(pieces).toBeLessThanOrEqual(8)
    expect(held).toBeLessThanOrEqual(2 * 16_384)
  })

  test('a small payload in a large chunk does not keep the chunk', async () => {
    const { peer, stream } = await answered(16_384)
    const filler = Array.from({ length: 10 }, () => frame(0x80, 0, new Uint8Array(65_536)))
    await peer.send(frame(type.data, stream.id, new Uint8Array(4000)), ...filler)
    expect((await stream.read())?.buffer.byteLength).toBe(4000)
  })
})
