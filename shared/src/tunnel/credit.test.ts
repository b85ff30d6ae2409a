/** Credit, turns and memory: what a stream may send and hold, and what it may do to the others. */

import { describe, expect, test } from 'vitest'
import { link, pair, readAll, turn } from '../../testing/link.ts'
import { answered, creditFrame, frame, greeted, ScriptedPeer } from '../../testing/scripted-peer.ts'
import type { WireError } from '../errors.ts'
import { decode } from './decode.ts'
import { readU32 } from './encode.ts'
import { frameType } from './frame.ts'
import { maxData } from './limits.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString()
const error: WireError = { code: 'cancelled', message: 'cannot go on: the caller went away' }

const sentBytes = (peer: ScriptedPeer) => peer.take(type.data).reduce((sum, [, payload]) => sum + payload.length, 0)
const _caught = (promise: Promise<unknown>) =>
  promise.then(
    () => 'fine',
    (why: { code: string }) => why.code,
  )

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

  test('an empty write needs no credit', async () => {
    const { stream } = await answered(16_384)
    await stream.write(new Uint8Array(16_384))
    await stream.write(new Uint8Array(0))
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
    for (let count = 0; count < 3; count++)
      peer.muxer
        .open()
        .write(new Uint8Array(4 * maxData))
        .catch(() => undefined)
    await turn()
    expect(peer.take(type.data).map(([stream]) => stream)).toEqual([2, 4, 6, 2, 4, 6, 2, 4, 6, 2, 4, 6])
  })

  test('a stream that comes late waits for one frame of each, not for all that is queued', async () => {
    const { edge, toRunner } = link({ messages: true }, { messages: true, window: 4_194_304 })
    await edge.ready
    toRunner.auto = false
    const release = toRunner.fill()
    for (let count = 0; count < 4; count++)
      edge
        .open()
        .write(new Uint8Array(4_000_000))
        .catch(() => undefined)
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

  test('a head in a large chunk does not keep the chunk', async () => {
    const filler = frame(0x80, 0, new Uint8Array(65_536))
    const heads: Uint8Array[] = []
    const peer = await greeted({ onStream: (_, head) => heads.push(head) })
    const stream = peer.muxer.open()
    await turn()
    await peer.send(frame(type.open, 1, 'ask'), frame(type.open, stream.id, 'answer'), filler)
    heads.push(await stream.head())
    expect(heads.map((head) => [text(head), head.buffer.byteLength])).toEqual([
      ['ask', 3],
      ['answer', 6],
    ])
  })

  test('a small payload in a large chunk does not keep the chunk', async () => {
    const { peer, stream } = await answered(16_384)
    const filler = Array.from({ length: 10 }, () => frame(0x80, 0, new Uint8Array(65_536)))
    await peer.send(frame(type.data, stream.id, new Uint8Array(4000)), ...filler)
    expect((await stream.read())?.buffer.byteLength).toBe(4000)
  })
})
