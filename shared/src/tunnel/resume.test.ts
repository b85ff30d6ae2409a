/** Long connections: silence, and owners that sleep and lose their memory. */

import { describe, expect, test } from 'vitest'
import { pair, turn } from '../../testing/link.ts'
import { creditFrame, frame, greeted, ScriptedPeer } from '../../testing/scripted-peer.ts'
import { FakeClock } from '../clock.ts'
import type { WireError } from '../errors.ts'
import { frameType } from './frame.ts'

const type = frameType
const error: WireError = { code: 'overloaded', message: 'cannot take more: shutting down' }

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

  test('an idle link lives for as long as it carries, and its streams end soon after it is cut', async () => {
    const clock = new FakeClock()
    const { near, edge, toRunner } = await pair(keepalive(clock))
    await clock.advance(600_000)
    expect(edge.openStreams).toBe(1)
    toRunner.auto = false
    await clock.advance(14_000)
    expect(edge.openStreams).toBe(1)
    await clock.advance(11_000)
    expect((await near.done)?.message).toBe('cannot use the connection to the runner: nothing came for 25000 ms')
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
