/** A peer that sends anything: the multiplexer answers, resets or ends the connection; it never throws, hangs or grows. */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frame, ScriptedPeer } from '../../testing/scripted-peer.ts'
import { cut, join } from '../../testing/vectors.ts'
import { encode } from './encode.ts'
import { type Frame, frameType } from './frame.ts'
import { maxPayload } from './limits.ts'
import type { TunnelStream } from './types.ts'

const hello = encode(frame(frameType.hello, 0, { generation: 1, role: 'edge', window: 16_384 }))

/** Frames of right form and random sense, on few ids, so that they meet. */
const anyFrame: fc.Arbitrary<Frame> = fc
  .record({
    type: fc.constantFrom(...Object.values(frameType)),
    id: fc.integer({ min: 1, max: 12 }),
    length: fc.nat(300),
    json: fc.constantFrom('{"code":"moved","message":"m"}', '{}', '{"generation":1,"role":"edge","window":16384}'),
    amount: fc.integer({ min: 1, max: 0x7fff_ffff }),
  })
  .map(({ type, id, length, json, amount }) => {
    const stream = type === frameType.hello || type >= frameType.ping ? 0 : id
    if (type === frameType.credit) return { type, stream, payload: Uint8Array.of(amount >> 24, amount >> 16, 0, 1) }
    if (type === frameType.hello || type === frameType.reset || type === frameType.goaway)
      return frame(type, stream, json)
    const exact = type === frameType.ping || type === frameType.pong ? 8 : Math.min(maxPayload(type) ?? 0, 1 + length)
    return { type, stream, payload: new Uint8Array(exact) }
  })

async function feed(chunks: readonly Uint8Array[]): Promise<{ peer: ScriptedPeer; streams: TunnelStream[] }> {
  const streams: TunnelStream[] = []
  const onStream = (stream: TunnelStream) => {
    streams.push(stream)
    if (stream.id % 4 === 1) {
      stream.accept()
      stream.write(new Uint8Array(100)).catch(() => undefined)
      stream.end()
    }
  }
  const peer = new ScriptedPeer({ onStream })
  for (let count = 0; count < 3; count++) streams.push(peer.muxer.open())
  for (const chunk of chunks) await peer.sendBytes(chunk)
  return { peer, streams }
}

async function isSound({ peer, streams }: Awaited<ReturnType<typeof feed>>): Promise<void> {
  expect(peer.closes.length).toBeLessThanOrEqual(1)
  if (peer.closes.length === 0) peer.muxer.close()
  else expect(peer.closes[0]?.code).toBe('protocol_error')
  expect(peer.muxer.openStreams).toBe(0)
  for (const stream of streams) await stream.done
}

const limits = { interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true }

test('random bytes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 2000 }),
      fc.array(fc.nat(2000), { maxLength: 5 }),
      async (bytes, at) => {
        await isSound(await feed([hello, ...cut(bytes, at)]))
        await isSound(await feed(cut(bytes, at)))
      },
    ),
    { numRuns: 200, ...limits },
  )
})

test('frames of right form in any order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFrame, { maxLength: 60, size: 'max' }), fc.boolean(), async (frames, atOnce) => {
      const chunks = frames.map((one) => encode(one))
      await isSound(await feed([hello, ...(atOnce ? [join(chunks)] : chunks)]))
    }),
    { numRuns: 500, ...limits },
  )
})

test('frames of right form with a byte changed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyFrame, { minLength: 1, maxLength: 20 }),
      fc.nat(),
      fc.nat(255),
      async (frames, at, byte) => {
        const bytes = encode(...frames)
        bytes[at % bytes.length] = byte
        await isSound(await feed([hello, bytes]))
      },
    ),
    { numRuns: 300, ...limits },
  )
})
