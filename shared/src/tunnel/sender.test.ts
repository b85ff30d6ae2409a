/** What the carrier gets, when, and what happens while it takes nothing. */

import { describe, expect, test } from 'vitest'
import { link, turn } from '../../testing/link.ts'
import { frame, greeted, ScriptedPeer } from '../../testing/scripted-peer.ts'
import type { WireError } from '../errors.ts'
import { frameType } from './frame.ts'
import { maxHead, maxMessage } from './limits.ts'
import type { TunnelStream } from './types.ts'

const type = frameType
const error: WireError = { code: 'overloaded', message: 'cannot take more: shutting down' }

describe('the carrier', () => {
  test('gets the frames of one turn in one message', async () => {
    const peer = await greeted()
    const before = peer.sends
    for (let count = 0; count < 50; count++) peer.muxer.open().end()
    await turn()
    expect(peer.sends - before).toBe(1)
    expect(peer.take(type.open)).toHaveLength(50)
  })

  test('gets the frames of several turns in one message, where the owner says so', async () => {
    const later: (() => void)[] = []
    const { edge, toRunner } = link({ soon: (run) => void later.push(run) })
    const runLater = () => {
      for (const run of later.splice(0)) run()
    }
    runLater()
    await edge.ready
    toRunner.auto = false
    const before = toRunner.messages.length
    const stream = edge.open(new Uint8Array(10))
    await turn()
    const written = stream.write(new Uint8Array(20))
    await turn()
    stream.end()
    await turn()
    expect(toRunner.messages).toHaveLength(before)
    runLater()
    await written
    expect(toRunner.messages).toHaveLength(before + 1)
    expect(toRunner.messages.at(-1)).toHaveLength(8 + 10 + 8 + 20 + 8)
  })

  test('gets messages of at most 1 MiB, whole frames each', async () => {
    const { edge, toRunner } = link({ messages: true }, { messages: true, window: 4_194_304 })
    await edge.ready
    toRunner.auto = false
    for (let count = 0; count < 3; count++) {
      edge
        .open(new Uint8Array(maxHead))
        .write(new Uint8Array(2_000_000))
        .catch(() => undefined)
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
      for (let bytes = await stream.read(); bytes; bytes = await stream.read())
        received.push(Buffer.from(bytes).toString())
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

  test('that nobody reads keeps nothing for streams that come and go meanwhile', async () => {
    const peer = await greeted({
      onStream: (stream) => {
        stream.accept(new Uint8Array(maxHead))
        stream.write(new Uint8Array(10_000)).catch(() => undefined)
      },
    })
    const readOn = peer.stopReading()
    await peer.send(frame(type.ping, 0, new Uint8Array(8)))
    for (let id = 1; id < 2000; id += 2) await peer.send(frame(type.open, id), frame(type.reset, id, error))
    expect([peer.closes.length, peer.muxer.openStreams]).toEqual([0, 0])
    peer.frames.length = 0
    readOn()
    await turn()
    expect(peer.frames).toEqual([])
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
