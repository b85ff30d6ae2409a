import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cut, fromHex, plain, vectors } from '../../testing/vectors.ts'
import { Decoder, decode, FrameError } from './decode.ts'
import { encode } from './encode.ts'
import { type Frame, firstExtension, frameType } from './frame.ts'
import { maxPayload, minPayload } from './limits.ts'

function run(chunks: readonly Uint8Array[]): { frames: Frame[]; decoder: Decoder } {
  const frames: Frame[] = []
  const decoder = new Decoder((type, stream, payload) => frames.push({ type, stream, payload }))
  for (const chunk of chunks) decoder.push(chunk)
  return { frames, decoder }
}

function faultOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof FrameError) return error.fault
    throw error
  }
  return 'none'
}

const places = fc.array(fc.nat(200_000), { maxLength: 12 })

/** Frames that every rule allows, mostly small, with the occasional greatest one. */
const ofConnection = new Set<number>([
  frameType.hello,
  frameType.ping,
  frameType.pong,
  frameType.goaway,
  frameType.pause,
  frameType.paused,
])
const anyFrame: fc.Arbitrary<Frame> = fc
  .constantFrom(...Object.values(frameType))
  .chain((type) => {
    const most = maxPayload(type) ?? 0
    const least = minPayload(type)
    const length = fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: least, max: Math.min(most, 40) }) },
      { weight: 1, arbitrary: fc.constant(most) },
    )
    const stream = ofConnection.has(type) ? fc.constant(0) : fc.integer({ min: 1, max: 0x7fff_ffff })
    return fc.tuple(fc.constant(type), stream, length, fc.nat(255))
  })
  .map(([type, stream, length, fill]) => {
    const payload = new Uint8Array(length).fill(fill)
    if (type === frameType.credit) payload.set([0, 0, 0, 1])
    return { type, stream, payload }
  })

describe('golden frames', () => {
  for (const vector of vectors.frames)
    test(vector.name, () => {
      const bytes = fromHex(vector.hex)
      const { frames } = run([bytes])
      expect(frames.length).toBe(vector.frames.length)
      for (const [index, expected] of vector.frames.entries()) {
        const frame = frames[index] as Frame
        expect([frame.type, frame.stream]).toEqual([expected.type, expected.stream])
        if (expected.json !== undefined)
          expect(JSON.parse(Buffer.from(frame.payload).toString())).toEqual(expected.json)
        else expect(Buffer.from(frame.payload).equals(fromHex(expected.payloadHex ?? ''))).toBe(true)
      }
      const halves = run([bytes.subarray(0, bytes.length >> 1), bytes.subarray(bytes.length >> 1)])
      expect(plain(halves.frames)).toEqual(plain(frames))
    })

  test('encoding what was decoded gives the same bytes, where nothing was skipped', () => {
    for (const vector of vectors.frames.filter(({ name }) => !name.includes('extension') && !name.includes('1 MiB'))) {
      const bytes = fromHex(vector.hex)
      expect(Buffer.from(encode(...decode(bytes))).equals(bytes), vector.name).toBe(true)
    }
  })
})

describe('refusals', () => {
  for (const vector of vectors.bad)
    test(vector.name, () => {
      const bytes = fromHex(vector.hex)
      expect(faultOf(() => run([bytes]))).toBe(vector.error)
      expect(faultOf(() => run([...bytes].map((byte) => Uint8Array.of(byte))))).toBe(vector.error)
    })

  for (const vector of vectors.badMessages)
    test(vector.name, () => {
      const decoder = new Decoder(() => undefined)
      expect(faultOf(() => decoder.pushMessage(fromHex(vector.hex)))).toBe(vector.error)
    })

  test('a decoder that refused once refuses for ever', () => {
    const frames: Frame[] = []
    const decoder = new Decoder((type, stream, payload) => frames.push({ type, stream, payload }))
    expect(faultOf(() => decoder.push(Uint8Array.of(11, 0, 0, 0, 0, 0, 0, 0)))).toBe('unknown_type')
    expect(faultOf(() => decoder.push(encode({ type: frameType.end, stream: 1, payload: new Uint8Array(0) })))).toBe(
      'unknown_type',
    )
    expect(frames).toEqual([])
  })

  test('every type takes its greatest length and refuses one more on the header alone', () => {
    for (let type = 0; type < 256; type++) {
      const most = maxPayload(type)
      const stream = type < firstExtension && !ofConnection.has(type) ? 1 : 0
      const header = (length: number) =>
        Uint8Array.of(type, length >> 16, (length >> 8) & 255, length & 255, 0, 0, 0, stream)
      if (most === undefined) expect(faultOf(() => run([header(0)]))).toBe('unknown_type')
      else {
        const { decoder } = run([header(most)])
        expect(decoder.atBoundary).toBe(most === 0)
        expect(faultOf(() => run([header(most + 1)]))).toBe('too_long')
      }
    }
  })
})

describe('chunking', () => {
  test('any chunking gives the same frames', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), places, (frames, at) => {
        const bytes = encode(...frames)
        const { frames: got, decoder } = run(cut(bytes, at))
        expect(plain(got)).toEqual(plain(frames))
        expect(decoder.atBoundary).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('one byte at a time gives the same frames', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 4 }), (frames) => {
        const bytes = encode(...frames)
        expect(plain(run([...bytes].map((byte) => Uint8Array.of(byte))).frames)).toEqual(plain(frames))
      }),
      { numRuns: 30 },
    )
  })

  test('random bytes give frames or an error, in any chunking the same, and soon', () => {
    const outcome = (chunks: readonly Uint8Array[]) => {
      const frames: Frame[] = []
      const decoder = new Decoder((type, stream, payload) => frames.push({ type, stream, payload }))
      const fault = faultOf(() => {
        for (const chunk of chunks) decoder.push(chunk)
      })
      return { fault, frames: plain(frames) }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), places, (bytes, at) => {
        expect(outcome(cut(bytes, at))).toEqual(outcome([bytes]))
      }),
      { numRuns: 500, interruptAfterTimeLimit: 10_000, markInterruptAsFailure: true },
    )
  })

  test('a flush kills a decoder wherever it stands', () => {
    const flush = fromHex(vectors.preamble.flush)
    for (const missing of [0, 1, 2, 3, 4, 5, 6, 7]) {
      const { decoder } = run([
        encode({ type: frameType.open, stream: 1, payload: new Uint8Array(65_536) }).subarray(0, 8 - missing),
      ])
      expect(faultOf(() => decoder.push(flush))).not.toBe('none')
    }
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 3 }), fc.nat(200_000), (frames, at) => {
        const bytes = encode(...frames)
        const { decoder } = run([bytes.subarray(0, at % (bytes.length + 1))])
        expect(faultOf(() => decoder.push(flush))).not.toBe('none')
      }),
      { numRuns: 100 },
    )
  })
})

describe('memory', () => {
  test('a payload that arrives whole is a view, not a copy', () => {
    const bytes = encode({ type: frameType.data, stream: 1, payload: new Uint8Array(1000) })
    const { frames } = run([bytes])
    expect(frames[0]?.payload.buffer).toBe(bytes.buffer)
  })

  test('a payload that arrives in pieces is gathered in one array of its length', () => {
    const bytes = encode({ type: frameType.data, stream: 1, payload: new Uint8Array(1000) })
    const { frames } = run(cut(bytes, [3, 9, 500]))
    expect(frames[0]?.payload.buffer.byteLength).toBe(1000)
  })

  test('a message keeps its frames together and its end is judged after them', () => {
    const frames: Frame[] = []
    const decoder = new Decoder((type, stream, payload) => frames.push({ type, stream, payload }))
    decoder.pushMessage(encode({ type: frameType.end, stream: 1, payload: new Uint8Array(0) }))
    expect(frames.length).toBe(1)
    expect(faultOf(() => decoder.pushMessage(Uint8Array.of(3, 0, 0)))).toBe('cut_message')
  })
})
