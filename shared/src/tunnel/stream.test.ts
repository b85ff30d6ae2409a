/** One stream: heads, halves, reset. Credit is in `credit.test.ts`. */

import { describe, expect, test } from 'vitest'
import { link, pair, readAll, turn } from '../../testing/link.ts'
import { answered, frame, ScriptedPeer } from '../../testing/scripted-peer.ts'
import type { WireError } from '../errors.ts'
import { frameType } from './frame.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && Buffer.from(value).toString()
const error: WireError = { code: 'cancelled', message: 'cannot go on: the caller went away' }

const _sentBytes = (peer: ScriptedPeer) => peer.take(type.data).reduce((sum, [, payload]) => sum + payload.length, 0)
const caught = (promise: Promise<unknown>) =>
  promise.then(
    () => 'fine',
    (why: { code: string }) => why.code,
  )

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
